"""The strings that seed random draws. They never change, even if the things that they name are renamed.

A seed is a hash of the study's seed, a purpose and ids (`randomness.py`). A different spelling is a different seed:
different members, weights and order of samples. Existing banks would no longer match their studies, and published
numbers could not be reproduced. So these strings are names of draws, not words for readers: they keep their spelling
when a module, a setting or a column gets a better name. A new draw gets a new constant; a string that is no longer used
is never reused for another draw.

Names that come from a study also seed draws, but are not listed here: labels of attacks (`rmia:mode=offline`), and
names of releases other than `DENSE`.
"""

# What is drawn
POPULATION = "population"
CANARIES = "canaries"
CANARY_ROWS = "canary rows"
"""Which rows become canaries of a network that is trained outside a study."""
CANARY_COINS = "canary coins"
"""Which of them are in its training set."""
CANARY_HALVES = "canary halves"
"""Which canaries choose the number of guesses."""
LABEL_NOISE = "label_noise"
EMBEDDED_IMAGES = "fashion_mnist_5k"
"""Which images of Fashion-MNIST come with the package."""
EMBEDDED_TEXTS = "clinc150_6k"
"""Which texts of CLINC150 come with the package."""
MEMBERSHIP = "membership"
HALVES = "halves"
"""Protocol `disjoint`: the victim's half and the attacker's."""
HOLDOUT_HALVES = "holdout halves"
"""Which half of the holdout a sample belongs to: drawn from its id alone, without the study's seed."""
SCORING_MEMBERSHIP = "scoring membership"
QUERY = "query"
SENSITIVITY = "sensitivity"
FOLDS = "folds"
BANK_HALVES = "bank halves"
"""Which half of the bank a model is in, where victims and references must be different models."""
FAMILY_ROWS = "family rows"
"""Which samples teach the attack on a family, where they are too many."""
ATTACK = "attack"
BOOTSTRAP = "bootstrap"
BOOTSTRAP_POOLED = "bootstrap pooled"
FRONTIER = "frontier"
MIGRATION = "migration"
CALIBRATION = "calibration"
"""The order of all samples in which a compressor takes members, the same for all models and releases."""

# What is drawn for one model
SCORING = "scoring"
"""Stands before the purpose: the model is of the scoring bank."""
BASE = "base"
"""Stands before the purpose: the network is trained on public samples, and all models start from it."""
ADAPTER = "adapter"
"""The low-rank matrices that a training adds to a network, before their first step."""
INITIALISE = "initialise"
TRAINING = "training"
FINETUNE = "finetune"
"""Also the last phase of a network that is pruned outside a study."""
FINETUNE_SEED = "seed {}"
"""Stands after the purpose, where a release asks for a seed of its own."""
WHOLE_RELEASE = "release {}"
"""Stands after the purpose of a training whose draws belong to one release alone, with the release's identity."""
PRUNE = "prune"
PRUNE_PHASE = "prune phase"
"""Stands before the phase, in a training that a pruning method asks for."""
PRUNE_OUTSIDE = "prune outside a study"
EXPORT_INPUTS = "export inputs"
"""Inputs, or noise on them, for comparing an exported file with its network."""
FORGETTING = "forgetting"
"""The further training of a copy of a network, the same for every release."""
DEFENSE = "defense"
"""Stands before the purpose of the training that is defended."""

# Phases of pruning methods
ROUND = "round {}"
COMPRESS_STEP = "step {}"
"""Stands after the purpose, from the second compressor of a chain on."""
EARLY = "early"
SPARSITY_TRAINING = "sparsity training"
BETWEEN_STEPS = "between steps"
"""The training between two compressors of a chain."""

# The parts of a release that a defence's draws depend on, as keys of the hash
RELEASE_PRUNER = "pruner"
RELEASE_SPARSITY = "sparsity"
RELEASE_COMPRESS = "compress"
RELEASE_PARENTS = "parents"

# Tokens: what draws of attacks know a word by
GIVEN = "signals"
"""The release, in an audit of predictions."""
DENSE = "dense"
MATCHED = "matched"
NO_DEFENSE = "no-defense"

INPUTS = "inputs"
"""Folds and classifiers that see only inputs."""

COMPLEAK_VIEWS = "compleak views"
"""How samples are cropped for one network of one release, in a replay of CompLeak's queries."""
COMPLEAK_CALLED = "compleak called members"
"""Which samples that nobody trained on a replay calls members."""

# Metrics of the frontier
AUC = "auc"
TPR = "tpr_at_{:g}%_fpr"
"""At a false-positive rate in percent."""

# The selftest
SELFTEST = "selftest"
SELFTEST_BANK = "selftest bank"
SELFTEST_MEMBERSHIP = "selftest membership"
SELFTEST_SENSITIVITY = "selftest sensitivity"
SELFTEST_INPUTS = "selftest inputs"
"""What the inputs tell, and what copies that were trained further answer."""
SELFTEST_STRUCTURE = "selftest structure"
"""Which weights the models of the made-up banks keep."""
HOLDOUT = "holdout"
"""Stands last: samples that were added to the made-up banks later."""
NULL = "null"
PLANTED = "planted"

# Power against the number of references
POWER_SUBSETS = "power subsets"
"""The order in which a victim takes its references."""
POWER_EXTRAPOLATION = "power extrapolation"

# Verdicts on records
RECORD_COINS = "record coins"
"""Which references of a null count as if they had not been trained on it."""
RECORD_FOLDS = "record folds"
RECORD_HALVES = "record halves"
"""Two disjoint sets of references, whose lists are compared."""

# Searches and certificates
SEARCH = "search"
"""Which candidates of a space are tried."""
CERTIFICATE = "certificate"
"""Replicates of a figure near 0 or 1."""

# Published claims
CLAIMS = "claims"
"""Draws of accuracies and leakages, for intervals far out in their tails."""
