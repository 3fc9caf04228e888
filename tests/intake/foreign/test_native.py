"""Wrapped, sharded, quantised and Lightning modules: the layer inside has its spectrum, or the refusal says what to do."""

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.utils.parametrizations import weight_norm

import lyapunov
from cases import drawn, seeded
from lyapunov.intake.foreign import is_recurrent, native, native_state
from lyapunov.intake.foreign.native import is_quantised
from lyapunov.systems import known
from models import Leaky, WithReadout
from test_bad_input import assert_form
from tolerances import same

FEATURES, UNITS = 3, 4
INPUTS = drawn(2, 24, FEATURES, seed=97)
START = drawn(2, UNITS, seed=98)
RUN = {"settle": 4, "align": 4}


def exponents(system: Any, **options: Any) -> Tensor:
    return lyapunov.spectrum(system, INPUTS, **RUN, **options).exponents


def assert_refused(system: Any, words: str, error: type[Exception] = lyapunov.Unsupported, **options: Any) -> None:
    with pytest.raises(error, match=words) as caught:
        exponents(system, **options)
    assert_form(str(caught.value))


# What is nothing foreign.


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_pytorchs_own_are_themselves(kind: type[nn.Module]) -> None:
    module = seeded(kind, FEATURES, UNITS)
    assert native(module) is module
    assert is_recurrent(module)
    assert native_state(module, START) is START


def test_what_is_not_recurrent_is_itself() -> None:
    things = [
        nn.Linear(2, 2, device="meta"),
        WithReadout(FEATURES, UNITS),
        Leaky(FEATURES, UNITS),
        Leaky(FEATURES, UNITS).forward,
        torch.tanh,
        known.henon().system,
        nn.LSTM,
        3,
        None,
    ]
    for thing in things:
        assert native(thing) is thing
        assert not is_recurrent(thing)


def test_a_parametrization_is_not_computed_to_look_at_its_layer() -> None:
    """Some parametrizations change their buffers when they are."""
    module = weight_norm(seeded(nn.GRU, FEATURES, UNITS, batch_first=True), "weight_hh_l0")
    calls: list[int] = []
    module.parametrizations.weight_hh_l0[0].register_forward_hook(lambda *_: calls.append(1))
    assert native(module) is module
    assert calls == []
    assert exponents(module).shape == (UNITS,)


def test_no_framework_is_imported() -> None:
    code = "import sys, torch; a = set(sys.modules); import lyapunov; print(*(set(sys.modules) - a))"
    names = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "lyapunov.intake.foreign" in names
    heavy = ("keras", "lightning", "pytorch_lightning", "transformers", "torch.distributed.fsdp", "torch.ao", "torch._dynamo")
    assert not [name for name in names if name.startswith(heavy)]


# Wrappers.


def compiled(module: nn.Module) -> Any:
    return torch.compile(module, backend="eager")


def averaged(module: nn.Module) -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(module)


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, averaged, lambda module: compiled(averaged(module))])
def test_a_wrapped_layer_is_the_layer(wrap: Callable[[nn.Module], nn.Module]) -> None:
    lstm = seeded(nn.LSTM, FEATURES, UNITS, batch_first=True)
    assert same(exponents(wrap(lstm)), exponents(lstm))
    assert native(native(wrap(lstm))).weight_hh_l0.equal(lstm.weight_hh_l0)
    step = Leaky(FEATURES, UNITS)
    assert same(exponents(wrap(step), state=START), exponents(step, state=START))


def test_a_lightning_module_is_a_module() -> None:
    from lightning.pytorch import LightningModule

    class Lit(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = seeded(nn.LSTM, FEATURES, UNITS, batch_first=True)
            self.readout = seeded(nn.Linear, UNITS, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.lstm(x)[0])

        def training_step(self, batch: Tensor) -> Tensor:
            return self(batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters())

    model = Lit().train()
    model.training_step(INPUTS).backward()
    before = {name: (value.clone(), value.grad.clone()) for name, value in model.named_parameters()}
    found = exponents(model.lstm)
    assert same(found, exponents(seeded(nn.LSTM, FEATURES, UNITS, batch_first=True)))
    assert same(found, lyapunov.spectrum(lyapunov.capture(model, INPUTS), **RUN).exponents)
    assert all(part.training for part in model.modules())
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name][0])
        assert torch.equal(value.grad, before[name][1])
    assert_refused(model, r"got Lit, which holds lstm.*model\.lstm")


# Weights without values.


def test_weights_without_values_are_told_to_be_loaded() -> None:
    for module, options in (
        (nn.LSTM(FEATURES, UNITS, device="meta"), {}),
        (Leaky(FEATURES, UNITS).to("meta"), {"state": START}),
    ):
        assert_refused(module, "on the meta device. Call the model once, or load it", lyapunov.InvalidInput, **options)
    lazy = Leaky(FEATURES, UNITS)
    lazy.mix = nn.LazyLinear(UNITS)
    assert_refused(lazy, "not initialised", lyapunov.InvalidInput, state=START)
    assert_refused(lazy.forward, "not initialised", lyapunov.InvalidInput, state=START)


# Quantised.


def dynamic(module: nn.Module, dtype: torch.dtype = torch.qint8) -> Any:
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        kinds = {nn.LSTM, nn.GRU, nn.RNNCell, nn.GRUCell, nn.LSTMCell, nn.Linear}
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(module).float(), kinds, dtype=dtype)[0]


def prepared() -> Any:
    with torch.random.fork_rng():
        return torch.ao.nn.quantizable.LSTM(FEATURES, UNITS)


def trained_for_it() -> Any:
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        cell = Leaky(FEATURES, UNITS).train()
        cell.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
        return torch.ao.quantization.prepare_qat(cell)


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_quantised_layer_is_refused(kind: type[nn.Module], dtype: torch.dtype) -> None:
    module = dynamic(seeded(kind, FEATURES, UNITS), dtype)
    assert is_recurrent(module)
    assert_refused(module, f"got a quantised {kind.__name__}: what rounds has derivative zero")


def test_what_is_quantised_in_parts_is_refused() -> None:
    assert_refused(prepared(), "got a quantised LSTM")
    assert_refused(dynamic(Leaky(FEATURES, UNITS)), "got a quantised Linear at mix", state=START.float())
    assert_refused(trained_for_it(), "got a quantised Linear at mix", state=START)
    assert_refused(dynamic(WithReadout(FEATURES, UNITS)), r"which holds core.*model\.core")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_capture_says_of_a_quantised_layer_why_it_is_refused() -> None:
    model = nn.Sequential(dynamic(nn.Sequential(seeded(nn.LSTM, 3, 4)))[0])
    with pytest.raises(lyapunov.Unsupported, match="derivative zero"):
        lyapunov.capture(model, torch.zeros(2, 2, 3))


def test_a_quantised_readout_is_no_matter() -> None:
    model = nn.Sequential(seeded(nn.LSTM, FEATURES, UNITS), dynamic(seeded(nn.Linear, UNITS, 2)))
    assert is_quantised(model[1])
    assert native(model) is model
    assert native(model[1]) is model[1]
    assert not is_quantised(torch.ao.nn.quantized.FloatFunctional())


# Many processes.

pytestmark = [
    pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`"),
    pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view"),
]


def start(store: str, rank: int, world: int) -> None:
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, world), rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    start(str(tmp_path_factory.mktemp("group") / "store"), 0, 1)
    yield
    dist.destroy_process_group()


def sharded(module: nn.Module) -> nn.Module:
    """By FSDP2, in place, on the CPU."""
    fully_shard(module, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    return module


def flattened(module: nn.Module, *, original: bool) -> FullyShardedDataParallel:
    """By FSDP1, on the CPU."""
    return FullyShardedDataParallel(module, use_orig_params=original, device_id=torch.device("cpu"))


def test_a_layer_in_ddp_is_the_layer(group: None) -> None:
    lstm = seeded(nn.LSTM, FEATURES, UNITS, batch_first=True)
    wrapped = nn.parallel.DistributedDataParallel(lstm)
    assert native(wrapped) is lstm
    assert same(exponents(wrapped), exponents(lstm))
    assert_refused(nn.parallel.DistributedDataParallel(WithReadout(FEATURES, UNITS)), "got WithReadout, which holds core")


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_gathered_weights_are_those_of_the_moment_and_keep_their_graph(group: None, kind: type[nn.Module]) -> None:
    plain = seeded(kind, FEATURES, UNITS, num_layers=2, batch_first=True)
    module = sharded(copy.deepcopy(plain))
    before = exponents(module)
    assert same(before, exponents(plain))
    native(module).weight_hh_l0.sum().backward()
    assert bool((module.weight_hh_l0.grad.full_tensor() == 1).all())
    with torch.no_grad():
        module.weight_hh_l0.mul_(0.5)
        plain.weight_hh_l0.mul_(0.5)
    assert same(exponents(module), exponents(plain))
    assert not same(exponents(module), before)


def test_capture_of_a_sharded_model_is_refused_with_two_ways_to_go_on(group: None) -> None:
    model = nn.Sequential(sharded(seeded(nn.LSTM, 3, 4)))
    with pytest.raises(lyapunov.Unsupported, match="by itself, on every rank"):
        lyapunov.capture(model, torch.zeros(5, 2, 3, dtype=torch.float64))


def test_hooks_of_users_on_a_sharded_layer_are_still_seen(group: None) -> None:
    module = sharded(seeded(nn.GRU, FEATURES, UNITS, batch_first=True))
    module.register_forward_pre_hook(lambda _, given: (2 * given[0],))
    assert_refused(module, "without forward pre-hooks, got 1")


def test_a_class_of_ones_own_is_refused_when_sharded_too(group: None) -> None:
    class Doubling(nn.GRU):
        def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return super().forward(2 * x, h)

    assert_refused(sharded(seeded(Doubling, FEATURES, UNITS, batch_first=True)), "forward of nn.GRU itself")


@pytest.mark.parametrize("original", [True, False])
def test_one_process_shards_nothing(group: None, original: bool) -> None:
    model = WithReadout(FEATURES, UNITS)
    expected = exponents(copy.deepcopy(model.core))
    assert same(exponents(flattened(model, original=original).core), expected)
    assert same(exponents(flattened(copy.deepcopy(WithReadout(FEATURES, UNITS).core), original=original)), expected)


def two_processes(rank: int, store: str) -> None:
    """Every rank asks; each finds what one process finds."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    start(store, rank, 2)
    try:
        by_fully_shard()
        for original in (True, False):
            by_flat_shards(original=original)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def by_fully_shard() -> None:
    plain, model = WithReadout(FEATURES, UNITS), WithReadout(FEATURES, UNITS)
    sharded(model.core)
    sharded(model)
    output = model(INPUTS).detach()
    for module in (model.core, sharded(WithReadout(FEATURES, UNITS)).core, sharded(copy.deepcopy(plain.core))):
        assert same(exponents(module), exponents(plain.core))
    cell = sharded(Leaky(FEATURES, UNITS))
    assert_refused(cell, "whole weights, got FSDPLeaky sharded .*get_model_state_dict", state=START)
    whole = Leaky(FEATURES, UNITS)
    whole.load_state_dict(get_model_state_dict(cell, options=StateDictOptions(full_state_dict=True)))
    assert same(exponents(whole, state=START), exponents(Leaky(FEATURES, UNITS), state=START))
    assert torch.equal(model(INPUTS), output)
    cell(START, INPUTS[:, 0]).sum().backward()
    cell(START, INPUTS[:, 0])  # keeps its weights gathered
    assert_refused(cell, "get_model_state_dict", state=START)


def by_flat_shards(*, original: bool) -> None:
    model, core, cell = (
        flattened(part, original=original)
        for part in (WithReadout(FEATURES, UNITS), WithReadout(FEATURES, UNITS).core, Leaky(FEATURES, UNITS))
    )
    expected = exponents(WithReadout(FEATURES, UNITS).core)
    for part in (model.core, core, core.module):
        assert_refused(part, r"whole weights, got a (shard|module sharded).*summon_full_params\(model, writeback=False\)")
    assert_refused(cell, "summon_full_params", state=START)
    with FullyShardedDataParallel.summon_full_params(model, writeback=False):
        assert same(exponents(model.core), expected)
    with FullyShardedDataParallel.summon_full_params(core, writeback=False):
        assert same(exponents(core), expected)
    with FullyShardedDataParallel.summon_full_params(cell, writeback=False):
        assert same(exponents(cell, state=START), exponents(Leaky(FEATURES, UNITS), state=START))
    assert torch.equal(model(INPUTS), WithReadout(FEATURES, UNITS)(INPUTS))


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(two_processes, args=(str(tmp_path / "store"),), nprocs=2)
