"""A recurrent layer with a readout, trained on a task: seeded, and resumable at every epoch."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lyapunov._atomic import write_atomically
from lyapunov.errors import InvalidInput
from lyapunov.intake import LAYERS
from lyapunov.systems import eval_mode
from lyapunov.tasks.descent import descent
from lyapunov.tasks.task import Task

KINDS: dict[str, Callable[..., nn.RNNBase]] = {layer.__name__: layer for layer in LAYERS}


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained. `spread`: weights are uniform on [-spread, spread]; None: PyTorch's own initialization.

    `dropout` acts on the output of the recurrent layer. The learning rate is multiplied by `decay` after every epoch from
    `decay_from` on. Gradients are clipped at norm `clip`.
    """

    kind: str = "LSTM"
    hidden: int = 128
    bias: bool = True
    spread: float | None = None
    dropout: float = 0.0
    learning_rate: float = 1e-3
    decay: float = 1.0
    decay_from: int = 10
    clip: float = 5.0
    seed: int = 0


class Network(nn.Module):
    """encoded inputs -> recurrent layer -> dropout -> linear readout."""

    def __init__(self, recipe: Recipe, input_size: int, output_size: int) -> None:
        super().__init__()
        self.core = KINDS[recipe.kind](input_size, recipe.hidden, bias=recipe.bias, batch_first=True)
        self.dropout, self.readout = nn.Dropout(recipe.dropout), nn.Linear(recipe.hidden, output_size)
        if recipe.spread is not None:
            for weight in self.parameters():
                nn.init.uniform_(weight, -recipe.spread, recipe.spread)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (batch, time, outputs) at every step; the loss of the task picks the steps it needs."""
        return self.readout(self.dropout(self.core(inputs)[0]))


class Learner:
    """A network at a task, on a device. `epoch` counts those done; what is saved after one goes on to the same numbers.

    `dtype`: of weights and training. In float32 rounding grows to the third digit within a few hundred steps; in float64 a
    training ends in the same numbers on any processor.
    """

    def __init__(
        self, task: Task, recipe: Recipe, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.task, self.recipe, self.device, self.epoch = task, recipe, torch.device(device), 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = Network(recipe, task.input_size, task.output_size).to(self.device, dtype)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)

    def losses(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """(batch, time), or (batch,): what `lyapunov.gradient_decay` takes."""
        inputs = self.task.encoded(batch[0].to(self.device)).to(next(network.parameters()).dtype)
        targets = batch[1].to(self.device)
        return self.task.losses(network(inputs), targets.to(inputs.dtype) if targets.is_floating_point() else targets)

    def train(self, say: Callable[[str], None] = lambda _: None) -> float:
        """One epoch; its mean loss. Dropout draws from a stream of its own, given by seed and epoch."""
        rate = self.recipe.learning_rate * self.recipe.decay ** max(0, self.epoch - self.recipe.decay_from + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        found = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2**33 + 1_000_003 * self.recipe.seed + self.epoch)
            batches = self.task.batches(self.recipe.seed, self.epoch)
            losses = (self.losses(self.network, batch).mean() for batch in batches)
            for loss in descent(self.network, self.optimizer, losses, self.recipe.clip):
                found.append(loss)
                say(f"step {len(found)}, loss {found[-1]:.3f}")
        self.epoch += 1
        return sum(found) / len(found)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean over all held-out steps, in evaluation mode."""
        total, count = 0.0, 0
        with eval_mode(self.network):
            for batch in self.task.held_out():
                losses = self.losses(self.network, batch)
                total, count = total + float(losses.double().sum()), count + losses.numel()
        return total / count

    def save(self, path: Path) -> None:
        """Weights and moments, whole or not at all."""
        tensors = {f"network.{name}": value.contiguous() for name, value in self.network.state_dict().items()}
        for at, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{at}.{name}": torch.as_tensor(value).clone() for name, value in state.items()}
        about = {"recipe": json.dumps(asdict(self.recipe)), "task": self.task.name, "epoch": str(self.epoch)}
        write_atomically(path, lambda partial: save_file(tensors, partial, metadata=about))

    def load(self, path: Path) -> None:
        """Goes on from there. Raises InvalidInput for another network or task."""
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("recipe") != json.dumps(asdict(self.recipe)) or about.get("task") != self.task.name:
            raise InvalidInput(
                f"Expected a checkpoint of {self.recipe} at {self.task.name} in {path}, got {about}. Move it away."
            )
        weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
        self.network.load_state_dict(weights)
        state = self.optimizer.state_dict()
        moments = [name.split(".") for name in tensors if name.startswith("adam.")]
        for _, at, name in moments:
            state["state"].setdefault(int(at), {})[name] = tensors[f"adam.{at}.{name}"]
        self.optimizer.load_state_dict(state)
        self.epoch = int(about["epoch"])
