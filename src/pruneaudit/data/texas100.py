"""Texas100: 67,330 stays in hospitals of Texas, 6,169 facts each true or not, 100 main procedures.

Texas Department of State Health Services (the discharge data), Shokri et al. 2017 (arXiv:1610.05820; the table).
`binary_table.py` says in which forms it is read. It takes 1.7 GB of memory.
"""

from __future__ import annotations

from pruneaudit.data.binary_table import BinaryTable, Description, published

ABOUT = Description(
    name="texas100",
    title="Texas100",
    archive=published("dataset_texas.tgz"),
    features_file="texas/100/feats",
    labels_file="texas/100/labels",
    num_samples=67_330,
    num_features=6_169,
    num_classes=100,
)

SOURCE = BinaryTable(ABOUT)
