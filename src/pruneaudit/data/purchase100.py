"""Purchase100: 197,324 customers, 600 products each bought or not, 100 clusters.

Kaggle's "Acquire valued shoppers" challenge (the purchases), Shokri et al. 2017 (arXiv:1610.05820; the table). The
classes are clusters that Shokri et al. found. `binary_table.py` says in which forms it is read.
"""

from __future__ import annotations

from pruneaudit.data.binary_table import BinaryTable, Description, published

ABOUT = Description(
    name="purchase100",
    title="Purchase100",
    archive=published("dataset_purchase.tgz"),
    features_file="dataset_purchase",
    labels_file=None,
    num_samples=197_324,
    num_features=600,
    num_classes=100,
)

SOURCE = BinaryTable(ABOUT)
