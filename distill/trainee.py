"""The student in training: the network, and the layers that only training needs.

Feature matching (FitNets: Romero et al. 2015, arXiv:1412.6550, eq. 3): a 1x1 convolution maps the student's features at its
coarsest level to those of a larger network of the same kind from a finished run, and the mean square of the difference is part of
the loss.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.config import ConfigError, TrainConfig
from distill.losses import consistency, objective
from distill.onset_loss import onset_loss
from models.geometry import NetConfig
from models.small_phasenet import SmallPhaseNet, fresh_net, net_of
from models.spec import ModelSpec, SpecError


class Trainee(nn.Module):  # type: ignore[misc]  # torch is not analysed
    """Computes the loss of a batch in one call, as training in several processes needs it."""

    def __init__(self, config: TrainConfig) -> None:
        """Build the student from its seed.

        Raises:
            ConfigError: when the network whose features are to be matched, or with whose weights it begins, cannot be read.
        """
        super().__init__()
        self.loss, self.notices = config.loss, config.notices
        self.net = (
            widened_net("optimiser.start", config.optimiser.start, config)
            if config.optimiser.start
            else fresh_net(
                config.net.config(), config.seed, config.service_samples, config.sampling.front_end
            )
        )
        # Not a module of this one: it does not learn and is not written down.
        self._guide: list[SmallPhaseNet] = []
        self.regressor: nn.Conv1d | None = None
        if config.loss.feature_weight:
            guide = exported_net("loss.feature_teacher", config.loss.feature_teacher)
            self._guide.append(guide)
            widths = self.net.config.widths[-1], guide.config.widths[-1]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                self.regressor = nn.Conv1d(*widths, 1)

    def forward(self, waves: Tensor, labels: Tensor, shift: int) -> Tensor:
        """Loss of a batch.

        Args:
            waves: ``(n, 3, L)``, prepared.
            labels: ``(n, 3, L)``, rows N P S.
            shift: samples by which a second view is shifted, for the loss of consistency.
        """
        features = self.net.encoded(waves)
        logits = self.net.decoded(features)[..., : waves.shape[-1]]
        if self.notices:
            return onset_loss(logits, labels)
        loss = objective(logits, labels, self.loss)
        if self.loss.consistency_weight and shift:
            again = self.net.logits(waves[..., shift:])
            loss = loss + self.loss.consistency_weight * consistency(logits, again, shift)
        if self.regressor is not None:
            [guide] = self._guide
            guide.to(waves.device)
            with torch.no_grad():
                wanted = guide.encoded(waves)[-1]
            ours = nn.functional.interpolate(self.regressor(features[-1]), size=wanted.shape[-1])
            loss = loss + self.loss.feature_weight * (ours - wanted).square().mean()
        return loss


def fits(smaller: NetConfig, larger: NetConfig) -> bool:
    """Whether two networks differ in their widths alone, and none of the second is smaller.

    >>> fits(NetConfig(widths=(8, 12)), NetConfig(widths=(8, 16))), fits(NetConfig(widths=(8, 12)), NetConfig(widths=(8,)))
    (True, False)
    >>> fits(NetConfig(widths=(8, 12), strides=(4, 4)), NetConfig(widths=(8, 12, 16), strides=(4, 4, 4)))
    False
    """
    if smaller.levels != larger.levels or replace(smaller, widths=larger.widths) != larger:
        return False
    return all(ours <= theirs for ours, theirs in zip(smaller.widths, larger.widths, strict=True))


def widened_net(key: str, path: str, config: TrainConfig) -> SmallPhaseNet:
    """The network of the sizes that a run wants which gives what a narrower student does, as Net2Net (Chen et al. 2016, arXiv:1511.05641).

    Channels that are new have weights as drawn for a network without a student, and what they give is multiplied by zero at
    first: so they learn different things, and nothing is forgotten. The seed of the run does not matter: two runs from one student begin
    alike, since only then the mean of their weights is a network that works.

    Args:
        key: of the configuration that names the student.
        path: of its ``.safetensors``.
        config: of the run.

    Raises:
        ConfigError: when the student cannot be read, has another front end, or differs in more than narrower levels.
    """
    start, wanted = exported_net(key, path), config.net.config()
    if not fits(start.config, wanted):
        raise ConfigError(
            f"{key}: {path} does not fit into net, which may be wider and nothing else: {start.config}, not {wanted}"
        )
    net = fresh_net(wanted, 0, config.service_samples, config.sampling.front_end)
    if (start.in_channels, start.num_phases) != (net.in_channels, net.num_phases):
        raise ConfigError(f"{key}: {path} is not of a network behind {config.sampling.front_end}")
    weights = net.state_dict()
    for name, old in start.state_dict().items():
        new = weights[name]
        if old.ndim > 1:  # a kernel: (out, in, steps)
            new[: len(old)] = 0
        new[tuple(map(slice, old.shape))] = old
    return net


def read_spec(path: Path) -> ModelSpec:
    """Read the specification in a ``.safetensors`` file.

    Raises:
        FileNotFoundError: when the file does not exist.
        SpecError: when it is not such a file, or has no specification.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return ModelSpec.from_metadata(file.metadata() or {})
    except SafetensorError as error:
        raise SpecError(f"{path}: not a safetensors file: {error}") from error


def exported_net(key: str, path: str) -> SmallPhaseNet:
    """Read the network of an exported student, to be used as it is.

    Args:
        key: of the configuration that names it.
        path: of its ``.safetensors``.

    Raises:
        ConfigError: when it cannot be read.
    """
    from safetensors.torch import load_file

    try:
        net = net_of(read_spec(Path(path)))
        net.load_state_dict(load_file(path))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"{key}: {path or 'nothing'}: not the .safetensors of an exported student: {error}"
        ) from error
    net.eval()
    net.requires_grad_(requires_grad=False)
    return net
