"""The public implementation of GLIP (microsoft/GLIP), imported from a checkout without being installed.

Its packages import all of themselves, extensions for a GPU among it. Here only the files that are compared
are imported; what they import besides and never call in inference is an empty stand-in.
"""

from __future__ import annotations

import ast
import importlib
import math
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from glip.kernels import deformable, suppressed
from torch import Tensor, nn
from transformers import BertConfig, BertModel, modeling_utils, pytorch_utils

from vlbias.errors import BadData

__all__ = ["CONFIGS", "Peer"]

CONFIGS = {
    "glip-tiny-a": "glip_A_Swin_T_O365",
    "glip-tiny-b": "glip_Swin_T_O365",
    "glip-tiny-c": "glip_Swin_T_O365_GoldG",
    "glip-tiny": "glip_Swin_T_O365_GoldG",
    "glip-large": "glip_Swin_L",
}
"""Name of a published model to its file under configs/pretrain."""
_NAME = "maskrcnn_benchmark"
_PACKAGES = (
    "", "config", "data", "data.transforms", "engine", "layers", "modeling", "modeling.backbone",
    "modeling.language_backbone", "modeling.rpn", "structures", "utils",
)  # fmt: skip


class _Node(dict[str, Any]):
    """What yacs.config.CfgNode is to the files of settings."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def _stand_in(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module
    return module


class Peer:
    """The peer's modules.

    Args:
        root: Folder of the checkout.

    Raises:
        BadData: if it is none.
    """

    def __init__(self, root: Path) -> None:
        if not (root / _NAME / "modeling" / "rpn" / "vldyhead.py").is_file():
            raise BadData(f"{root} is no checkout of microsoft/GLIP: it has no {_NAME}/modeling")
        self.root = root
        _stand_in("yacs", __path__=[])
        _stand_in("yacs.config", CfgNode=_Node)
        for package in _PACKAGES:
            path = root / _NAME / package.replace(".", "/")
            _stand_in(f"{_NAME}.{package}".rstrip("."), __path__=[str(path)])
        _stand_in(f"{_NAME}._C", nms=None, ml_nms=None)
        self._old_names()
        settings = sys.modules[f"{_NAME}.config"]
        settings.__dict__.update(cfg=self._file("config.defaults")._C, try_to_find=None)
        self._layers()
        self.swin = self._file("modeling.backbone.swint")
        self.pyramid = self._file("modeling.backbone.fpn")
        self.convolutions = self._file("modeling.make_layers")
        self.text = self._file("modeling.language_backbone.bert_model")
        self.fuse = self._file("utils.fuse_helper")
        self.head = self._file("modeling.rpn.vldyhead")
        self.boxes = self._file("structures.bounding_box")
        self.images = self._file("structures.image_list")
        self.transforms = self._file("data.transforms.transforms")
        self.head.BertEncoderLayer.get_extended_attention_mask = _widened
        # on a CPU the peer mistakes numbers within a class for numbers of all boxes
        self._file("modeling.rpn.inference").boxlist_ml_nms = _by_class

    def _old_names(self) -> None:
        """What older releases of libraries had, and the peer imports."""
        vars(np)["float"] = float
        names: Any = modeling_utils
        names.apply_chunking_to_forward = pytorch_utils.apply_chunking_to_forward
        names.prune_linear_layer = names.find_pruneable_heads_and_indices = None

    def _file(self, name: str) -> Any:
        return importlib.import_module(f"{_NAME}.{name}")

    def _layers(self) -> None:
        layers: Any = sys.modules[f"{_NAME}.layers"]
        deform, misc = self._file("layers.deform_conv"), self._file("layers.misc")
        deform.modulated_deform_conv = deformable
        layers.ModulatedDeformConv = deform.ModulatedDeformConv
        layers.Scale, layers.Conv2d = misc.Scale, misc.Conv2d
        layers.DYReLU = self._file("layers.dyrelu").DYReLU
        layers.SELayer = layers.NaiveSyncBatchNorm2d = layers.FrozenBatchNorm2d = None
        layers.nms, layers.ml_nms = suppressed, None
        name = f"{_NAME}.modeling"
        _stand_in(f"{name}.poolers", Pooler=None)
        _stand_in(f"{name}.box_coder", BoxCoder=None)
        _stand_in(f"{name}.backbone.fbnet", math=math, OrderedDict=OrderedDict)
        _stand_in(f"{name}.rpn.loss", make_atss_loss_evaluator=lambda *_: None)
        clip = {"QuickGELU": None, "LayerNorm": None, "DropPath": None}
        _stand_in(f"{name}.language_backbone.clip_model", **clip)
        maps = {"create_positive_map_label_to_token_from_positive_map": None}
        _stand_in(f"{_NAME}.engine.inference", **maps)

    def function(self, file: str, name: str) -> Any:
        """A function of a file that cannot be imported whole, by itself."""
        tree = ast.parse((self.root / _NAME / file).read_text())
        found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
        names: dict[str, Any] = {"defaultdict": __import__("collections").defaultdict}
        exec(compile(ast.Module(found, []), file, "exec"), names)
        return names[name]

    def settings(self, name: str, **changes: Any) -> Any:
        """The settings of a published model, with changes by dotted names with "__" for the dot."""
        cfg = _copied(sys.modules[f"{_NAME}.config"].cfg)  # type: ignore[attr-defined]
        file = self.root / "configs" / "pretrain" / f"{CONFIGS[name]}.yaml"
        _merged(cfg, yaml.safe_load(file.read_text()))
        for place, value in changes.items():
            *path, last = place.split("__")
            node = cfg
            for part in path:
                node = node[part]
            node[last] = value
        return cfg

    def build(self, cfg: Any, text: BertConfig) -> nn.Module:
        """The whole network in evaluation; the text encoder is of a shape given, not fetched."""
        maker = SimpleNamespace(from_pretrained=lambda *_, **__: text)
        self.text.BertConfig = self.head.BertConfig = maker
        self.text.BertModel = SimpleNamespace(
            from_pretrained=lambda *_, **__: BertModel(text, add_pooling_layer=False)
        )
        widths, given = cfg.MODEL.SWINT.OUT_CHANNELS, cfg.MODEL.BACKBONE.OUT_CHANNELS
        neck = self.pyramid.FPN(
            in_channels_list=[0, *widths[-3:]],
            out_channels=given,
            conv_block=self.convolutions.conv_with_kaiming_uniform(False, False),
            top_blocks=self.pyramid.LastLevelP6P7(given, given),
        )
        body = self.swin.build_swint_backbone(cfg)
        net = nn.Module()
        net.backbone = nn.Sequential(OrderedDict([("body", body), ("fpn", neck)]))
        net.language_backbone = nn.Sequential(OrderedDict([("body", self.text.BertEncoder(cfg))]))
        net.rpn = self.head.VLDyHeadModule(cfg)
        return net.eval()


def _widened(_: Any, mask: Tensor, *__: Any) -> Tensor:
    """What transformers added to scores when the peer was written; later releases have no such method."""
    return (1.0 - mask[:, None, None, :].to(torch.get_default_dtype())) * -10000.0


def _by_class(boxes: Any, overlap: float) -> Any:
    """What its kernel for a GPU does: of every class the boxes that are left."""
    labels, scores = boxes.get_field("labels"), boxes.get_field("scores")
    kept = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        kept.append(own[suppressed(boxes.bbox[own], scores[own], overlap)])
    return boxes[torch.cat(kept)] if kept else boxes


def _copied(node: _Node) -> _Node:
    return _Node({k: _copied(v) if isinstance(v, _Node) else v for k, v in node.items()})


def _merged(node: _Node, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, dict):
            _merged(node[name], value)
        elif isinstance(value, str) and value.startswith("("):
            node[name] = ast.literal_eval(value)
        else:
            node[name] = value
