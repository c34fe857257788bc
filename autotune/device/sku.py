"""SKU: the one canonical name of a kind of device, made from raw facts alone; the facts are read in `device.py`."""

from __future__ import annotations

import re

GIB = 1024**3

SOLD_GB = (2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 72, 80, 94, 96, 128, 141, 144, 180, 186, 192, 288)
"""The sizes that GPUs are sold with; what they call GB is GiB on the board."""

FORM_BY_PCI_ID = {
    0x20B0: "sxm",  # A100 SXM4 40GB
    0x20B2: "sxm",  # A100 SXM4 80GB
    0x20B5: "pcie",  # A100 PCIe 80GB
    0x20F1: "pcie",  # A100 PCIe 40GB
    0x2321: "nvl",  # H100 NVL
    0x2330: "sxm",  # H100 SXM5 80GB
    0x2331: "pcie",  # H100 PCIe
    0x2335: "sxm",  # H200 SXM
    0x233B: "nvl",  # H200 NVL
    0x2901: "sxm",  # B200
}
"""Form factors that a name may leave out. Source: the PCI ID Repository, vendor 10de."""

SXM_UNLESS_NAMED = frozenset({"h100", "h200", "h800", "h20", "b100", "b200", "b300"})
"""Their PCIe and NVL boards say so in the driver's name; the SXM module's name is the bare product."""

_FORM = re.compile(r"(sxm|pcie|nvl)\d*\Z")
_UNSAID = re.compile(r"nvidia|tesla|generation|hbm\d\w*|\d+gb?")
"""Words that name the vendor, or the memory, which is measured instead: the 480GB of a GH200 are its processor's."""


def gpu_sku(
    name: str,
    *,
    memory_bytes: int | None,
    pci_device_id: int | None = None,
    mig_profile: str | None = None,
    power_limit_w: int | None = None,
    default_power_limit_w: int | None = None,
) -> str:
    """`h200-sxm-141gb`, `a100-sxm-80gb-mig-3g.40gb`, `h100-pcie-80gb-250w`.

    All facts are those of the whole GPU, also for a slice of it. memory_bytes: None where it shares the host's.
    mig_profile: as NVIDIA writes it, `1c.3g.40gb+me`.
    """
    model, form = _model(name, pci_device_id)
    memory = f"{marketed_gb(memory_bytes)}gb" if memory_bytes else None
    slice_of = f"mig-{slug(mig_profile.replace('+', '.'))}" if mig_profile else None
    capped = _power_cap(model, power_limit_w, default_power_limit_w)
    return "-".join(filter(None, (model, form, memory, slice_of, capped)))


def marketed_gb(memory_bytes: int) -> int:
    """The smallest size sold that holds the GiB that the driver shows (give or take 0.5 %), if at most a ninth more.

    The driver keeps a little for itself, and error correction takes a sixteenth of GDDR: a 48 GB board shows 45 GiB,
    an 80 GB one 79.6, a 141 GB one 140.4. What fits no size sold is rounded to whole GiB.
    """
    gib = memory_bytes / GIB
    return next((size for size in SOLD_GB if gib * 0.995 <= size <= gib / 0.9), max(1, round(gib)))


def mig_profile(name: str, *, gpu_slices: int, compute_slices: int, memory_bytes: int, gpu_memory_bytes: int) -> str:
    """The profile in the name of a MIG slice, or, from drivers that leave it out, the one that its shape amounts to.

    A slice's memory counts in eighths of the GPU's (MIG User Guide, MIG Device Names): 40 GB have profiles of 5, 10, 20
    and 40 GB, 141 GB have 18, 35, 71 and 141.
    """
    if named := re.search(r"\bMIG (\S+)", name):
        return named[1]
    eighths = -(-8 * memory_bytes // gpu_memory_bytes)
    gigabytes = int(eighths * -(-gpu_memory_bytes // GIB) / 8 + 0.5)
    part = f"{compute_slices}c." if compute_slices < gpu_slices else ""
    return f"{part}{gpu_slices}g.{gigabytes}gb"


def cpu_sku(name: str, *, cores: int, family: str | None = None) -> str:
    """`cpu-<model>-<cores>c`. `family` tells models apart where a hypervisor hides the model's number: `26.2`."""
    model = re.sub(r"\((r|tm)\)|@.*|\b(cpu|processor|\d+-core)\b", " ", name.lower())
    model = slug(model.replace("+", " plus "))
    if family and (not re.search(r"\d", model) or "virtual" in model):
        model = f"{model}-{slug(family)}"
    return f"cpu-{model or 'unknown'}-{cores}c"


def slug(text: str) -> str:
    """Lower-case words of [a-z0-9.] joined by hyphens: safe as a file name."""
    return "-".join(re.findall(r"[a-z0-9](?:[a-z0-9.]*[a-z0-9])?", text.lower()))


def _model(name: str, pci_device_id: int | None) -> tuple[str, str | None]:
    """The product, without vendor, memory and form factor, and the form factor."""
    whole = re.sub(r"\bMIG\b.*", "", name)
    words = [word for word in slug(whole).split("-") if not _UNSAID.fullmatch(word)]
    forms = [match[1] for word in words if (match := _FORM.match(word))]
    model = "-".join(word for word in words if not _FORM.match(word)) or "gpu"
    if forms:
        return model, forms[0]
    fallback = "sxm" if model in SXM_UNLESS_NAMED else None
    return model, FORM_BY_PCI_ID.get(pci_device_id or 0, fallback)


def _power_cap(model: str, limit_w: int | None, default_w: int | None) -> str | None:
    """The limit in watts where it is not the default one.

    A laptop's follows its battery and its fan from one minute to the next: it is no part of what the device is.
    """
    if limit_w is None or default_w is None or limit_w == default_w or "laptop" in model:
        return None
    return f"{limit_w}w"
