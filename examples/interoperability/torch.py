"""Libraries that train PyTorch modules or have PyTorch networks."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bilinear import reference
from bilinear.models.conversion import convert
from bilinear.torch import BCNN, BilinearPool, load, save

from . import CLASSES, check, compare

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4) % CLASSES
SKETCH = {"name": "CompactBilinearPool", "dim": 64}
LEVELS = {"name": "HierarchicalBilinearPool", "dim": 16}


def small(**options: Any) -> BCNN:
    """A BCNN on the first layers of ResNet18."""
    return BCNN("resnet18", CLASSES, **{"taps": ("layer1",), "projection": 8} | options)


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


def train(model: nn.Module, sgd: Any = None, backward: Any = Tensor.backward) -> list[float]:
    """Train for two steps in a plain loop, and return the losses."""
    sgd = optimizer(model) if sgd is None else sgd
    losses = []
    model.train()
    for _ in range(2):
        loss = F.cross_entropy(model(IMAGES), LABELS)
        sgd.zero_grad()
        backward(loss)
        sgd.step()
        losses.append(loss.item())
    model.eval()
    assert np.isfinite(losses).all()
    return losses


def reopen(model: nn.Module) -> str:
    """Save a model, open the file, and compare the logits."""
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder, "model.safetensors"))  # pyright: ignore[reportArgumentType]
        opened = load(Path(folder, "model.safetensors"))
    with torch.no_grad():
        return "logits of the file: " + compare(opened(IMAGES), model.eval()(IMAGES))


class Backbone(nn.Module):
    """A network with another forward function."""

    def __init__(self, network: nn.Module, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, images: Tensor) -> Any:
        return self.function(self.network, images)


def train_on(backbone: nn.Module, channels: Any, **options: Any) -> str:
    """Train a BCNN on the backbone, and compare the descriptors of one map with NumPy."""
    model = BCNN(backbone, CLASSES, channels=channels, **options)
    train(model)
    if isinstance(channels, tuple):
        return "trained"
    with torch.no_grad():
        (maps,) = model.pooled_maps(IMAGES)
        expected = reference.bilinear_pool(maps.flatten(2).mT.numpy())
        return "trained; descriptors and NumPy: " + compare(model.descriptors(IMAGES), expected)


@check("`features_only`: two feature maps")
def timm_features_only(timm: Any, torch: Any) -> str:
    network = timm.create_model("resnet10t", features_only=True, out_indices=(3, 4))
    return train_on(network, tuple(network.feature_info.channels()), pool=LEVELS)


@check("`forward_features` of a CNN")
def timm_forward_features(timm: Any, torch: Any) -> str:
    network = timm.create_model("mobilenetv3_small_050", num_classes=0)
    backbone = Backbone(network, lambda net, x: net.forward_features(x))
    return train_on(backbone, network.num_features, projection=16)


@check("tokens of a ViT with registers")
def timm_vit(timm: Any, torch: Any) -> str:
    sizes = {"img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2, "reg_tokens": 2}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes)
    start = network.num_prefix_tokens  # the class token and the registers
    backbone = Backbone(network, lambda net, x: net.forward_features(x)[:, start:].mT)
    return train_on(backbone, network.num_features)


@check("maps (N, H, W, C) of a Swin transformer")
def timm_swin(timm: Any, torch: Any) -> str:
    sizes = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2}
    network = timm.create_model("swin_tiny_patch4_window7_224", img_size=64, num_classes=0, **sizes)
    backbone = Backbone(network, lambda net, x: net.forward_features(x).movedim(-1, 1))
    return train_on(backbone, network.num_features)


@check("weights of its ResNet18 in `BCNN(weights=path)`")
def timm_weights(timm: Any, torch: Any) -> str:
    network = timm.create_model("resnet18").eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder, "model_best.pth.tar")
        torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
        maps = small(taps=None, weights=path).eval().forward_features(IMAGES)
        return "feature maps: " + compare(maps, network.forward_features(IMAGES), 0)


@check("`ModelEmaV3`")
def timm_ema(timm: Any, torch: Any) -> str:
    model = small(projection=None, pool=SKETCH)
    start = copy.deepcopy(model.classifier.weight)
    average = timm.utils.ModelEmaV3(model, decay=0.75)
    train(model)
    average.update(model)
    with torch.no_grad():
        compare(average.module.classifier.weight, start.lerp(model.classifier.weight, 0.25))
    return reopen(average.eval())


@check("`AveragedModel`, exponential and equal averages")
def averaged_model(torch: Any) -> str:
    for average in (get_ema_multi_avg_fn(0.75), None):
        model = small(projection=None, pool=SKETCH)
        mean = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        mean.update_parameters(model)
        start = copy.deepcopy(model.classifier.weight)
        train(model)
        mean.update_parameters(model)
        with torch.no_grad():
            expected = start.lerp(model.classifier.weight, 0.25 if average else 0.5)
            compare(mean.get_parameter("module.classifier.weight"), expected)
        result = reopen(mean)
    return result


@check("`weight_norm`, `spectral_norm` and `orthogonal` of the classifier")
def parametrized(torch: Any) -> str:
    for way in ("weight_norm", "spectral_norm", "orthogonal"):
        model = small()
        getattr(parametrizations, way)(model.classifier)
        train(model)
        refused = refusal(model)
        with torch.no_grad():
            logits = model(IMAGES)
            parametrize.remove_parametrizations(model.classifier, "weight")
            compare(model(IMAGES), logits)
        result = reopen(model)
    return f"{refused}; permanent: {result}"


@check("`l1_unstructured` pruning of the classifier and `ln_structured` of a convolution")
def pruned(torch: Any) -> str:
    model = small()
    convolution = model.backbone.layer1[0].conv1
    prune.l1_unstructured(model.classifier, "weight", amount=0.5)
    prune.ln_structured(convolution, "weight", amount=0.25, n=2, dim=0)
    train(model)
    refused = refusal(model)
    prune.remove(model.classifier, "weight")
    prune.remove(convolution, "weight")
    assert int((model.classifier.weight == 0).sum()) == model.classifier.weight.numel() // 2
    return f"{refused}; permanent: {reopen(model)}"


def refusal(model: BCNN) -> str:
    """Check that a model with other tensors is not saved."""
    text = "saved"
    try:
        save(model, "not written")
    except TypeError as error:
        text = f"{error}"
    assert "make pruning and weight normalization permanent" in text, text
    return "`save` refuses it with a remedy"


@check("`children()` of a network")
def torchvision_children(torchvision: Any, torch: Any) -> str:
    network = nn.Sequential(*list(torchvision.models.resnet18().children())[:-2])
    return train_on(network, 512, projection=16)


@check("`create_feature_extractor`, of its network and of a `BCNN`")
def torchvision_extractor(torchvision: Any, torch: Any) -> str:
    extract = torchvision.models.feature_extraction.create_feature_extractor
    network = extract(torchvision.models.resnet18(), ["layer1", "layer2"])
    train_on(Backbone(network, lambda net, x: tuple(net(x).values())), (64, 128), pool=LEVELS)
    model = small().eval()
    with torch.no_grad():
        found = extract(model, ["pool"])(IMAGES)["pool"]
        return "trained; descriptors: " + compare(found, model.descriptors(IMAGES), 0)


@check("`AutoBackbone`")
def transformers_backbone(transformers: Any, torch: Any) -> str:
    network = transformers.AutoBackbone.from_config(_resnet(transformers, out_features=["stage2"]))
    backbone = Backbone(network, lambda net, x: net(x).feature_maps)
    return train_on(backbone, network.channels[0])


def _resnet(transformers: Any, **options: Any) -> Any:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    return transformers.ResNetConfig(**sizes, layer_type="basic", **options)


@check("tokens of `ViTModel`")
def transformers_vit(transformers: Any, torch: Any) -> str:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64}
    network = transformers.ViTModel(transformers.ViTConfig(**sizes), add_pooling_layer=False)
    backbone = Backbone(network, lambda net, x: net(x).last_hidden_state[:, 1:].mT)
    return train_on(backbone, network.config.hidden_size)


@check("`BilinearPool` in `ResNetForImageClassification`, trained by `Trainer`")
def transformers_trainer(transformers: Any, accelerate: Any, torch: Any) -> str:
    model = transformers.ResNetForImageClassification(_resnet(transformers, num_labels=CLASSES))
    model.resnet.pooler, model.classifier = BilinearPool(), nn.Linear(16**2, CLASSES)
    rows = zip(IMAGES, LABELS.tolist(), strict=True)
    data = [{"pixel_values": image, "labels": label} for image, label in rows]
    options = {"max_steps": 2, "use_cpu": True, "report_to": [], "save_strategy": "no"}
    with tempfile.TemporaryDirectory() as folder:
        given = transformers.TrainingArguments(folder, disable_tqdm=True, **options)
        result = transformers.Trainer(model, given, train_dataset=data).train()
    assert np.isfinite(result.training_loss)
    return "trained"


@check("`Trainer`, `EMAWeightAveraging`, and the conversion of the checkpoint")
def lightning_trainer(lightning: Any, torch: Any) -> str:
    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = small()
            self.losses: list[float] = []

        def training_step(self, batch: Any, index: int) -> Tensor:
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self) -> Any:
            return optimizer(self)

    classifier, data = Classifier(), torch.utils.data.TensorDataset(IMAGES, LABELS)
    average = lightning.pytorch.callbacks.EMAWeightAveraging(decay=0.5)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"accelerator": "cpu", "max_epochs": 2, "enable_checkpointing": False, **quiet}
    with tempfile.TemporaryDirectory() as folder:
        own, new = Path(folder, "own.safetensors"), Path(folder, "new.safetensors")
        trainer = lightning.Trainer(callbacks=[average], default_root_dir=folder, **options)
        trainer.fit(classifier, torch.utils.data.DataLoader(data, batch_size=4))
        assert classifier.losses == train(small()), "the losses differ from those of a plain loop"
        trainer.save_checkpoint(Path(folder, "last.ckpt"))
        save(classifier.model, own)
        convert(Path(folder, "last.ckpt"), new, like=own, source_form="torch")
        opened = load(new)
    with torch.no_grad():
        logits = compare(opened(IMAGES), classifier.model.eval()(IMAGES), 0)
    return f"losses of a plain loop: equal; logits of the checkpoint: {logits}"


@check("`prepare`, `backward`, `unwrap_model`, and the file of `save_model`")
def accelerate_loop(accelerate: Any, torch: Any) -> str:
    made = accelerate.Accelerator(cpu=True)
    model = small()
    model, sgd = made.prepare(model, optimizer(model))
    losses = train(model, sgd, made.backward)
    assert losses == train(small()), "the losses differ from those of a plain loop"
    result = reopen(made.unwrap_model(model))
    with tempfile.TemporaryDirectory() as folder:
        made.save_model(model, folder)
        like, new = Path(folder, "like.safetensors"), Path(folder, "new.safetensors")
        save(small(seed=1), like)
        convert(Path(folder, "model.safetensors"), new, like=like, source_form="torch")
        with torch.no_grad():
            compare(load(new)(IMAGES), model(IMAGES), 0)
        empty = small(device="meta")
        accelerate.load_checkpoint_and_dispatch(empty, folder, device_map={"": "cpu"})
    with torch.no_grad():
        compare(empty.eval()(IMAGES), model(IMAGES), 0)
    return f"losses of a plain loop: equal; {result}"
