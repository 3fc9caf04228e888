"""Text and tokens on their way into a checkpoint's core: numbers in the right order, through the embedding, or a refusal."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lyapunov
from cases import seeded
from lyapunov.intake import core_inputs, load_checkpoint
from lyapunov.intake.in_front import Map, path
from tolerances import same

SYMBOLS = list("ehlo wrd\n")
TEXT = "hello world\n" * 60
SHUFFLED = random.Random(3).sample(SYMBOLS, len(SYMBOLS))
FIRST = list(dict.fromkeys(TEXT))


class Model(nn.Module):
    """Whatever stands in front of a GRU, and a readout behind it."""

    def __init__(self, front: nn.Module, *, size: int, units: int = 7, named: str = "embedding") -> None:
        super().__init__()
        setattr(self, named, front)
        self.named = named
        self.core, self.readout = nn.GRU(size, units, batch_first=True), nn.Linear(units, len(SYMBOLS))

    def forward(self, tokens):
        return self.readout(self.core(getattr(self, self.named)(tokens))[0])


@pytest.fixture(autouse=True)
def _weights_from_a_seed():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def saved(module: nn.Module, place, *, core: str | None = None, **metadata):
    save_file(dict(module.state_dict()), place / "model.safetensors", metadata=metadata or None)
    (place / "text.txt").write_text(TEXT)
    return load_checkpoint(place / "model.safetensors", core=core)


def tokens_of(order) -> torch.Tensor:
    numbers = torch.tensor([order.index(symbol) for symbol in TEXT])
    starts = torch.linspace(0, len(numbers) - 100, 3).long()
    return torch.stack([numbers[start : start + 100] for start in starts.tolist()])


CUT = {"sequences": 3, "steps": 100}


@pytest.mark.parametrize("form", ["list", "numbers", "symbols", "lines", "row", "no newline at the end"])
def test_a_vocabulary_file_of_any_form_gives_the_order(form: str, tmp_path) -> None:
    bare = seeded(nn.GRU, len(SYMBOLS), 7, batch_first=True)
    checkpoint = saved(bare, tmp_path)
    order = SHUFFLED if form != "lines" else [symbol if symbol != "\n" else r"\n" for symbol in SHUFFLED]
    content = {
        "list": json.dumps(SHUFFLED),
        "numbers": json.dumps({symbol: at for at, symbol in enumerate(SHUFFLED)}),
        "symbols": json.dumps(dict(enumerate(SHUFFLED))),
        "lines": "\n".join(order) + "\n",
        "row": "".join(SHUFFLED) + "\n",
        "no newline at the end": "".join(SHUFFLED),
    }[form]
    (tmp_path / "vocabulary").write_text(content)
    found = core_inputs(tmp_path / "text.txt", checkpoint, vocabulary=str(tmp_path / "vocabulary"), **CUT)
    assert torch.equal(found.values.argmax(-1), tokens_of(SHUFFLED))
    assert "9 symbols, in the order of vocabulary: " in found.about
    assert found.about.endswith("one-hot into (top level).")


def test_the_orders_of_the_text_are_said_and_differ(tmp_path) -> None:
    checkpoint = saved(seeded(nn.GRU, len(SYMBOLS), 7), tmp_path)
    for asked, order in ((None, sorted(SYMBOLS)), ("sorted", sorted(SYMBOLS)), ("first-appearance", FIRST)):
        found = core_inputs(tmp_path / "text.txt", checkpoint, vocabulary=asked, **CUT)
        assert torch.equal(found.values.argmax(-1), tokens_of(order))
        assert ("first appearance" if asked == "first-appearance" else "sorted order") in found.about
        assert ("does not say its order" in found.about) == (asked is None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocabulary", json.dumps(SHUFFLED)),
        ("chars", "".join(SHUFFLED)),
        ("stoi", json.dumps({symbol: at for at, symbol in enumerate(SHUFFLED)})),
        ("idx_to_char", json.dumps(dict(enumerate(SHUFFLED)))),
    ],
)
def test_what_the_checkpoint_says_is_taken_unless_the_user_says_otherwise(name: str, value: str, tmp_path) -> None:
    checkpoint = saved(seeded(nn.GRU, len(SYMBOLS), 7), tmp_path, **{name: value, "format": "pt", "vocab_file": "vocab.json"})
    found = core_inputs(tmp_path / "text.txt", checkpoint, **CUT)
    assert torch.equal(found.values.argmax(-1), tokens_of(SHUFFLED))
    assert f"the checkpoint's {name}" in found.about
    said = core_inputs(tmp_path / "text.txt", checkpoint, vocabulary="sorted", **CUT)
    assert torch.equal(said.values.argmax(-1), tokens_of(sorted(SYMBOLS)))


def test_files_of_torch_and_numpy_have_their_vocabulary_too(tmp_path) -> None:
    weights = seeded(nn.GRU, len(SYMBOLS), 7).state_dict()
    stoi = {symbol: at for at, symbol in enumerate(SHUFFLED)}
    torch.save({"model": weights, "tokenizer": {"stoi": stoi}, "vocab_size": 9}, tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", chars=np.array(SHUFFLED), **{name: value.numpy() for name, value in weights.items()})
    assert [load_checkpoint(tmp_path / f"a.{suffix}").vocabulary for suffix in ("pt", "npz")] == [SHUFFLED] * 2
    torch.save({"model": weights, "stoi": stoi, "itos": sorted(SYMBOLS)}, tmp_path / "two.pt")
    with pytest.raises(lyapunov.InvalidInput, match="one vocabulary in the checkpoint, got 2 that differ: stoi, itos"):
        load_checkpoint(tmp_path / "two.pt")


@pytest.mark.parametrize("name", ["vocab_type", "vocab_path", "char_mode", "charset", "symbols_of", "tok2vec", "word_to_use"])
def test_a_string_under_another_name_is_no_vocabulary(name: str, tmp_path) -> None:
    weights = seeded(nn.GRU, len(SYMBOLS), 7).state_dict()
    for value in ("char", "v.json"):
        torch.save({"model": weights, "args": {name: value}}, tmp_path / "a.pt")
        assert load_checkpoint(tmp_path / "a.pt").vocabulary is None


@pytest.mark.parametrize("name", ["chars", "characters", "alphabet", "symbols", "vocab", "vocabulary"])
def test_a_string_under_a_vocabulary_s_own_name_is_one(name: str, tmp_path) -> None:
    weights = seeded(nn.GRU, len(SYMBOLS), 7).state_dict()
    torch.save({"model": weights, "args": {name: "".join(SHUFFLED)}}, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").vocabulary == SHUFFLED


def test_digits_that_are_no_numbers_do_not_number_symbols(tmp_path) -> None:
    weights = seeded(nn.GRU, len(SYMBOLS), 7).state_dict()
    torch.save({"model": weights, "itos": {"\N{SUPERSCRIPT TWO}": "a"}}, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").vocabulary is None


REFUSED = {
    "no such file": ("nowhere.json", None, "sorted or first-appearance or a file, got .*nowhere.json"),
    "too few": (
        "v.json",
        json.dumps(SHUFFLED[:-1]),
        "9 different symbols, the network's input size, got 8 in the order of v.json",
    ),
    "not different": ("v.txt", "aab", "Expected 9 different symbols in v.txt.*got 1 .1 different., 3 .2 different."),
    "words": ("v.json", json.dumps([f"word{at}" for at in range(9)]), "single characters.*'word0'.*tokenizer"),
    "not in it": ("v.json", json.dumps(list("hello wrd!")[:3] + list("abcxyz")), "got 'l' at position|got 'o' at position"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_vocabularies_that_do_not_fit_are_refused(name: str, tmp_path) -> None:
    file, content, pattern = REFUSED[name]
    checkpoint = saved(seeded(nn.GRU, len(SYMBOLS), 7), tmp_path)
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(lyapunov.InvalidInput, match=pattern):
        core_inputs(tmp_path / "text.txt", checkpoint, vocabulary=str(tmp_path / file), **CUT)


@pytest.mark.parametrize("named", ["embedding", "emb", "wte", "encoder", "char_embed"])
def test_text_goes_through_the_embedding(named: str, tmp_path) -> None:
    network = Model(nn.Embedding(len(SYMBOLS), len(SYMBOLS)), size=len(SYMBOLS), named=named)
    checkpoint = saved(network, tmp_path, vocabulary=json.dumps(SHUFFLED))
    found = core_inputs(tmp_path / "text.txt", checkpoint, **CUT)
    expected = lyapunov.spectrum(lyapunov.capture(network, tokens_of(SHUFFLED)), k=3)
    assert same(lyapunov.spectrum(checkpoint.module, found.values, k=3).exponents, expected.exponents)
    assert f"through {named}.weight (9, 9) into core" in found.about


@pytest.mark.parametrize("rows", [9, 12])
@pytest.mark.parametrize("noted", [False, True])
def test_rows_to_spare_are_a_word_of_caution(rows: int, noted: bool, tmp_path) -> None:
    said = {"vocabulary": json.dumps(SHUFFLED)} if noted else {}
    checkpoint = saved(Model(nn.Embedding(rows, 4), size=4), tmp_path, **said)
    (tmp_path / "order.json").write_text(json.dumps(SHUFFLED))
    asked = None if noted else str(tmp_path / "order.json")
    about = core_inputs(tmp_path / "text.txt", checkpoint, vocabulary=asked, **CUT).about
    assert ("embedding.weight has 12 rows for these 9 symbols" in about) == (rows == 12)
    assert "to spare" in about or rows == 9


@pytest.mark.parametrize("form", ["npy", "npz", "safetensors", "one sequence", "uint16", "one-hot"])
def test_integers_go_through_the_embedding(form: str, tmp_path) -> None:
    network = Model(nn.Embedding(20, 4), size=4)
    checkpoint, tokens = saved(network, tmp_path), torch.randint(0, 20, (3, 50), generator=torch.Generator().manual_seed(1))
    file = tmp_path / f"tokens.{form if form in ('npz', 'safetensors') else 'npy'}"
    if form == "safetensors":
        save_file({"inputs": tokens, "targets": tokens + 1}, file)
    elif form == "npz":
        np.savez(file, y=tokens.numpy(), x=tokens.numpy())
    elif form == "one-hot":
        np.save(file, np.eye(20, dtype=np.float32)[tokens.numpy()])
    else:
        np.save(file, tokens.numpy().astype(np.uint16 if form == "uint16" else np.int64)[0 if form == "one sequence" else ...])
    found = core_inputs(file, checkpoint)
    with torch.no_grad():
        expected = network.embedding(tokens[:1] if form == "one sequence" else tokens)
    assert torch.equal(found.values, expected)
    assert "through embedding.weight (20, 4) into core" in found.about


def test_features_are_what_the_core_receives(tmp_path) -> None:
    checkpoint, values = saved(Model(nn.Embedding(20, 4), size=4), tmp_path), np.random.default_rng(0).random((2, 50, 4))
    np.save(tmp_path / "features.npy", values)
    found = core_inputs(tmp_path / "features.npy", checkpoint)
    assert torch.equal(found.values, torch.from_numpy(values))
    assert "taken as what core itself receives, behind embedding.weight" in found.about
    bare = saved(seeded(nn.GRU, 4, 7), tmp_path)
    assert core_inputs(tmp_path / "features.npy", bare).about == ""


class Front(nn.Module):
    """Something between an embedding and the core."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.embedding, self.rest = nn.Embedding(len(SYMBOLS), parts[0]), nn.ModuleList(parts[1:])


BETWEEN = {
    "layer norm": (lambda: Front(4, nn.LayerNorm(4)), 4),
    "norm without weights of its own, with a projection": (lambda: Front(6, nn.Linear(6, 4)), 4),
    "projection without bias": (lambda: Front(6, nn.Linear(6, 4, bias=False)), 4),
    "two projections": (lambda: Front(4, nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 4)), 4),
    "convolution": (lambda: Front(4, nn.Conv1d(4, 4, 3)), 4),
    "batch norm": (lambda: Front(4, nn.BatchNorm1d(4)), 4),
    "another core": (lambda: Front(4, nn.LSTM(4, 4)), 4),
    "attention": (lambda: Front(4, nn.MultiheadAttention(4, 2)), 4),
    "a bidirectional core": (lambda: Front(4, nn.GRU(4, 2, bidirectional=True)), 4),
    "two embeddings that are joined": (lambda: Front(2, nn.Embedding(9, 2)), 4),
    "positions": (lambda: nn.ModuleDict({"embedding": nn.Embedding(9, 4), "positions": nn.Embedding(100, 4)}), 4),
    "a projection of one-hot symbols": (lambda: nn.Linear(9, 9), 9),
    "a projection to another width": (lambda: nn.Linear(9, 6), 6),
    "a table of another name": (lambda: nn.Embedding(9, 9), 9),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_lies_between_is_refused_with_how_to_capture(name: str, tmp_path) -> None:
    front, size = BETWEEN[name]
    network = Model(front(), size=size, named="first")
    core = "core" if name.endswith("core") else None
    checkpoint = saved(network, tmp_path, core=core)
    with pytest.raises(lyapunov.Unsupported) as caught:
        core_inputs(tmp_path / "text.txt", checkpoint, **CUT)
    lines = str(caught.value).splitlines()
    assert "first." in lines[0]
    assert [line.split("#")[0].strip() for line in lines[1:]] == [
        "model = Model(...)",
        "model.load_state_dict(safetensors.torch.load_file('model.safetensors'))",
        "captured = lyapunov.capture(model, tokens)",
        f"print(lyapunov.spectrum({'captured.core(' + repr(core) + ')' if core else 'captured'}))",
    ]


@pytest.mark.parametrize(
    "front",
    ["readout of the embedding's width", "tied readout", "norm of the readout", "learned initial state", "wider norm behind"],
)
def test_what_stands_behind_the_core_is_no_obstacle(front: str, tmp_path) -> None:
    units = 4 if front != "wider norm behind" else 7
    network = Model(nn.Embedding(len(SYMBOLS), 4), size=4, units=units)
    if front == "tied readout":
        network.readout = nn.Linear(4, len(SYMBOLS), bias=False)
        with torch.no_grad():
            network.readout.weight.copy_(network.embedding.weight)
    elif front == "norm of the readout":
        network.readout = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, len(SYMBOLS)))
    elif front == "learned initial state":
        network.h0 = nn.Parameter(torch.zeros(1, 1, 4))
    elif front == "wider norm behind":
        network.norm = nn.LayerNorm(7)
    checkpoint = saved(network, tmp_path)
    assert "through embedding.weight" in core_inputs(tmp_path / "text.txt", checkpoint, **CUT).about


@pytest.mark.parametrize(
    "place", ["state_dict", "model_state_dict", "model.init", "module", "encoder", "hidden.output", "pos", "head"]
)
def test_where_the_weights_lie_in_the_file_changes_nothing(place: str, tmp_path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    plain, normed = (Model(front, size=4, named="first") for front in (nn.Embedding(9, 4), Front(4, nn.LayerNorm(4))))
    for network in (plain, normed):
        tensors = {
            f"{place}.{name.replace('first.weight', 'emb.weight')}": value for name, value in network.state_dict().items()
        }
        torch.save(tensors, tmp_path / "model.pt")
        checkpoint = load_checkpoint(tmp_path / "model.pt")
        if network is plain:
            found = core_inputs(tmp_path / "text.txt", checkpoint, vocabulary="sorted", **CUT)
            assert torch.equal(found.values, network.first.weight.detach()[tokens_of(sorted(SYMBOLS))])
        else:
            with pytest.raises(lyapunov.Unsupported, match=rf"{place}\.first\.rest\.0\.weight \(4,\) can stand there"):
                core_inputs(tmp_path / "text.txt", checkpoint, **CUT)


OPTIMIZERS = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    "SGD": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    "Adadelta": torch.optim.Adadelta,
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, momentum=0.9, centered=True),
}


def trained(front: nn.Module, size: int, optimizer: str) -> tuple[Model, dict]:
    """A network and its optimizer after one step."""
    network = Model(front, size=size)
    steps = OPTIMIZERS[optimizer](network.parameters())
    entered = torch.eye(9)[tokens_of(FIRST)] if isinstance(front, nn.Identity) else tokens_of(FIRST)
    network(entered).square().mean().backward()
    steps.step()
    return network, steps.state_dict()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", ["whole", "state alone", "flat"])
@pytest.mark.parametrize("front", ["embedding", "one-hot"])
def test_what_an_optimizer_keeps_is_no_part_of_the_network(front: str, form: str, optimizer: str, tmp_path) -> None:
    embedding = front == "embedding"
    network, kept = trained(nn.Embedding(9, 4) if embedding else nn.Identity(), 4 if embedding else 9, optimizer)
    weights, place = network.state_dict(), tmp_path / "model.pt"
    (tmp_path / "text.txt").write_text(TEXT)
    if form == "whole":
        torch.save({"model_state_dict": weights, "optimizer_state_dict": kept, "ema_opt": kept, "epoch": 3}, place)
    elif form == "state alone":
        torch.save({"model_state_dict": weights, "optimizer_state": kept["state"]}, place)
    else:
        moments = {f"optimizer.state.{at}.{name}": value for at, one in kept["state"].items() for name, value in one.items()}
        tensors = {f"model.{name}": value for name, value in weights.items()} | moments
        save_file({name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}, place)
    found = core_inputs(tmp_path / "text.txt", load_checkpoint(place), vocabulary="sorted", **CUT)
    numbers = tokens_of(sorted(SYMBOLS))
    assert torch.equal(found.values, network.embedding.weight.detach()[numbers] if embedding else torch.eye(9)[numbers])


@pytest.mark.parametrize("part", ["state", "state.0.step", "optimizer", "momentum_buffer", "norm.exp_avg"])
def test_parts_of_a_network_that_are_named_like_those_of_an_optimizer_are_still_seen(part: str, tmp_path) -> None:
    network = Model(nn.Embedding(9, 4), size=4)
    (tmp_path / "text.txt").write_text(TEXT)
    torch.save({"state": network.state_dict() | {f"{part}.weight": torch.ones(4)}}, tmp_path / "model.pt")
    with pytest.raises(lyapunov.Unsupported, match=rf"{part}\.weight \(4,\) can stand there"):
        core_inputs(tmp_path / "text.txt", load_checkpoint(tmp_path / "model.pt"), **CUT)


@pytest.mark.parametrize("beside", [{}, {"loss": torch.tensor(1.5)}])
@pytest.mark.parametrize("nested", [False, True])
def test_the_way_out_loads_the_weights_and_nothing_beside_them(nested: bool, beside: dict, tmp_path) -> None:
    weights = Model(nn.Linear(9, 9), size=9).state_dict()
    torch.save({"model": weights, **beside} if nested else weights, tmp_path / "model.pt")
    recipe = load_checkpoint(tmp_path / "model.pt").recipe
    assert f"load_state_dict(torch.load('model.pt', weights_only=True){'[' + repr('model') + ']' if nested else ''})" in recipe


def test_what_can_stand_in_front_is_named_once(tmp_path) -> None:
    network = Model(nn.Identity(), size=9)
    network.mix = nn.Parameter(torch.eye(9))
    checkpoint = saved(network, tmp_path)
    with pytest.raises(lyapunov.Unsupported, match=r"in which mix \(9, 9\) can stand there"):
        core_inputs(tmp_path / "text.txt", checkpoint, **CUT)


def test_of_an_encoder_and_a_decoder_each_has_its_own_embedding(tmp_path) -> None:
    network = nn.ModuleDict({name: Model(nn.Embedding(len(SYMBOLS), 4), size=4) for name in ("encoder", "decoder")})
    saved_at = tmp_path / "model.safetensors"
    save_file(dict(network.state_dict()), saved_at)
    (tmp_path / "text.txt").write_text(TEXT)
    found = core_inputs(tmp_path / "text.txt", load_checkpoint(saved_at, core="decoder.core"), **CUT)
    assert "through decoder.embedding.weight (9, 4) into decoder.core" in found.about


def test_tokens_that_do_not_fit_are_refused(tmp_path) -> None:
    checkpoint, bare = saved(Model(nn.Embedding(20, 4), size=4), tmp_path), None
    for values, pattern in (
        (np.full((2, 50), 20), "from 0 to 19, the rows of embedding.weight, got 20 to 20"),
        (np.full((2, 50, 4), 1), r"shape \(batch, time\) or \(time,\).*\(2, 50, 4\)"),
        (np.full((2, 50), True), "torch.bool"),
    ):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(lyapunov.InvalidInput, match=pattern):
            core_inputs(tmp_path / "a.npy", checkpoint)
    bare = saved(seeded(nn.GRU, 4, 7), tmp_path)
    with pytest.raises(lyapunov.InvalidInput, match=r"no embedding.*numpy.eye\(4\)\[tokens\]"):
        core_inputs(tmp_path / "a.npy", bare)
    with pytest.raises(lyapunov.InvalidInput, match="--vocabulary with a text"):
        core_inputs(tmp_path / "a.npy", bare, vocabulary="sorted")


def test_a_way_through_maps_takes_none_twice_in_a_row() -> None:
    square, there, back = Map("s", (3, 3), ((3, 3),)), Map("t", (5, 3), ((3, 5), (5, 3))), Map("b", (3, 5), ((5, 3),))
    assert path(3, 3, [there]) == ()
    assert path(3, 3, [there, back]) == (there, back)
    assert path(3, 3, [square, there]) == (square,)
    assert path(4, 3, [square, there, back]) == ()
