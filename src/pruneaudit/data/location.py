"""Location: 5,010 users of Foursquare in Bangkok, 446 places or kinds of places each visited or not, 30 clusters.

Yang, Zhang, Qu 2016 (the check-ins), Shokri et al. 2017 (arXiv:1610.05820; the table). The classes are clusters that
Shokri et al. found. `binary_table.py` says in which forms it is read.
"""

from __future__ import annotations

from pruneaudit.data.binary_table import BinaryTable, Description, published

ABOUT = Description(
    name="location",
    title="Location",
    archive=published("dataset_location.tgz"),
    features_file="bangkok",
    labels_file=None,
    num_samples=5_010,
    num_features=446,
    num_classes=30,
    about_bytes=287_293,
)

SOURCE = BinaryTable(ABOUT)
