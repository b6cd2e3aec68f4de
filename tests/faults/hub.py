"""Faults of models on the Hub: what is asked of it, and what the model card says."""

from .library import fault

PUSHED = ("tests/models/test_hub_models.py", "-k", "pushed_and_opened and torch")
REFUSED = ("tests/models/test_hub_models.py", "-k", "one_sentence and torch")
CARDS = ("tests/models/test_hub_models.py", "-k", "card")
DOWNLOAD = "models.hub:download"


@fault("from_pretrained ignores the revision", DOWNLOAD, PUSHED, "torch")
def _(f, *arguments, **options):
    return f(*arguments, **options | {"revision": None})


@fault("from_pretrained sends no token", DOWNLOAD, REFUSED, "torch")
def _(f, *arguments, **options):
    return f(*arguments, **options | {"token": False})


@fault("every file is downloaded again", DOWNLOAD, PUSHED, "torch")
def _(f, *arguments, **options):
    return f(*arguments, **options | {"force_download": not options["local_files_only"]})


@fault("the card names the classes in another order", "models.model_card:_classes", CARDS)
def _(f, names, count):
    return f(names and names[::-1], count)


@fault("the card has the mean as standard deviation", "models.model_card:_numbers", CARDS)
def _(f, values):
    return f((0.485, 0.456, 0.406))
