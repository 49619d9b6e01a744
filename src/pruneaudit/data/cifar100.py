"""CIFAR-100: all 60,000 colour 32x32 images in 100 classes (50,000 train, then 10,000 test).

Krizhevsky 2009; `cifar.py` lists the supported forms. The labels are the fine ones.
"""

from __future__ import annotations

from pruneaudit.data.cifar import Cifar, Form
from pruneaudit.data.cifar10 import MEAN, STD
from pruneaudit.data.download import RemoteFile

_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CLASSES = tuple(_NAMES.split())
ARCHIVE = "cifar-100-binary.tar.gz"
BINARY = RemoteFile(
    ARCHIVE,
    ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
    168_513_733,
    "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",  # of TensorFlow Datasets
)
PYTHON = RemoteFile(
    "cifar-100-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
    checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",  # of the authors' page
)
FOLDER = "cifar-100-binary"
PYTHON_FOLDER = "cifar-100-python"


class Cifar100(Cifar):
    """The whole of CIFAR-100."""

    def __init__(
        self,
        num_train: int = 50_000,
        num_test: int = 10_000,
        binary: RemoteFile = BINARY,
        python: RemoteFile = PYTHON,
    ) -> None:
        """Sets the files, and the numbers of training and test images."""
        binary_form = Form(FOLDER, binary, {"train.bin": num_train, "test.bin": num_test}, is_binary=True)
        python_form = Form(PYTHON_FOLDER, python, {"train": num_train, "test": num_test}, is_binary=False)
        super().__init__("cifar100", "CIFAR-100", CLASSES, 2, "fine_labels", (binary_form, python_form), (MEAN, STD))


SOURCE = Cifar100()
