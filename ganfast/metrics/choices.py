"""The names that options of an evaluation may have, the protocols' (protocols.py) apart."""

EXTRACTORS = {
    "inception": None,
    "digits": "ganfast.train.classifier:digits_extractor",
    "dinov2": None,
    "clip": None,
    "swav": None,
}
"""The extractors that have a name, and the import path of each; None: it has a loader of its own.
"""

PRESETS = ("dinov2", "clip", "swav")
"""Those of them that are models of a library with a published recipe."""

LIBRARIES = ("timm", "hf", "torchvision")
"""Whose models are extractors by name: "timm:NAME", "hf:REPOSITORY", "torchvision:NAME"."""

EXTRACTOR_FORMS = "timm:NAME, hf:REPOSITORY, torchvision:NAME, module:factory"
"""What else names one."""

PRECISIONS = ("fp32", "tf32", "bf16")
"""fp32: products and sums in float32. tf32: products of 10 bits, on NVIDIA GPUs since Ampere.
bf16: products of 8 bits, sums in float32."""

DIMS = (64, 192, 768, 2048)
"""Layers of the Inception network by their number of features, as pytorch-fid has them: after the
first and the second max pool, before the auxiliary classifier's place (Mixed_6e), and the last."""

SPLITS = 10
"""Parts that the Inception Score is averaged over if nobody says, as in its original code."""

FEATURES_DTYPES = ("float32", "float16")
BACKGROUNDS = {"white": 255, "black": 0}
INTERVALS = ("influence", "half-samples")
"""influence: by the delta method, no FID again. half-samples: FIDs of halves of the images."""

ON_ERROR = ("raise", "skip")
DECODERS = ("auto", "pillow")
"""auto: simplejpeg and imagecodecs where they are installed and give Pillow's pixels."""

BATCH_SIZE = {"cpu": 50, "cuda": 256}
"""Images that go through the network at once, by where it runs, if nobody says."""
