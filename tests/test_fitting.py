import pytest
import torch

from bert.config import ConfigError
from bert.convert.fitting import fit
from bert.convert.found import Found, WeightsError
from bert.convert.shape import differences
from tests.foreign_weights import ROWS, TABLES, TOKENS, assert_same, network, section

SAID = {"norm": "post", "positions": "learned", "layer_norm_eps": 1e-12, "hidden_act": "gelu"}


def found(state, said=SAID, vocab_size=None, **more):
    """Weights as a reader hands them on; their names in the files have an x in front."""
    origins = {name: f"x.{name}" for name in state}
    return Found("test file", (), state, origins, {}, said, vocab_size, more)


def weights(rows=TOKENS, **changes):
    """A network's weights, the tables with so many rows."""
    state = network(**changes).state_dict()
    return {name: t[:rows].clone() if name in TABLES else t for name, t in state.items()}


def test_the_shape_is_that_of_the_weights_and_the_rest_that_of_the_section():
    other = {"hidden_size": 64, "num_hidden_layers": 5, "intermediate_size": 100}
    other |= {"max_position_embeddings": 40, "hidden_dropout_prob": 0.3, "norm": "pre"}
    given = section(**other)

    fitted = fit(found(weights()), given, TOKENS, "phase1")

    assert fitted.config == section(hidden_dropout_prob=0.3)
    differing = differences(found(weights()), given, fitted.config)
    assert differing["hidden_size"] == {"files": 8, "section": 64, "taken": 8}
    assert differing["norm"] == {"files": "post", "section": "pre", "taken": "post"}
    assert differing.keys() == {*other, "norm"} - {"hidden_dropout_prob"}


def test_what_files_say_of_dropout_is_reported_and_not_taken():
    said = SAID | {"hidden_dropout_prob": 0.4}
    fitted = fit(found(weights(), said), section(), TOKENS, "phase1")
    differing = differences(found(weights(), said), section(), fitted.config)
    assert differing == {"hidden_dropout_prob": {"files": 0.4, "section": 0.1, "taken": 0.1}}


def test_fixed_positions_are_taken_over_in_both_directions():
    fixed = {"positions": "fixed", "position_init": None}
    state = weights(**fixed)
    assert fit(found(state, fixed), section(), TOKENS, "phase1").config == section(**fixed)
    assert fit(found(state), section(**fixed), TOKENS, "phase1").config == section()


@pytest.mark.parametrize(
    ("rows", "multiple", "made"),
    [
        (TOKENS, 8, "5 rows of padding made as zeros"),
        (12, 1, "1 rows of padding cut"),
        (12, 8, "1 rows of padding cut, 5 rows of padding made as zeros"),
        (ROWS, 8, None),
        (TOKENS, 1, None),
    ],
)
def test_padding_is_kept_if_it_agrees_and_else_made_anew(rows, multiple, made):
    state = weights(rows)
    fitted = fit(found(state), section(vocab_multiple=multiple), TOKENS, "phase1")

    assert_same(fitted.state, state, rows=TOKENS)
    for name in TABLES:
        assert fitted.made.get(name) == made
        assert len(fitted.state[name]) == (ROWS if multiple == 8 else TOKENS)
        kept = made is None
        assert torch.equal(fitted.state[name][TOKENS:], state[name][TOKENS:]) or not kept
        assert kept or not fitted.state[name][TOKENS:].any()


def test_every_name_of_the_files_is_used_or_skipped():
    fitted = fit(found(weights()), section(), TOKENS, "phase1")
    assert fitted.used == {f"x.{name}": name for name in network().state_dict()}
    assert not fitted.skipped


def test_before_finetuning_all_heads_are_skipped_with_a_reason():
    state = weights() | {"classifier.weight": torch.zeros(3, 8), "output_bias": torch.zeros(3)}
    fitted = fit(found(state), section(), TOKENS, "finetune")

    encoder = {name for name in network().state_dict() if name.startswith("bert.")}
    assert fitted.state.keys() == encoder
    assert fitted.skipped["x.cls.predictions.bias"] == (
        "pretraining head; fine-tuning takes the encoder"
    )
    assert fitted.skipped["x.classifier.weight"] == "head of another fine-tuning"
    assert len(fitted.used) + len(fitted.skipped) == len(state)


def test_before_finetuning_the_pooler_may_be_absent_but_not_half():
    state = {name: tensor for name, tensor in weights().items() if "pooler" not in name}
    assert "bert.pooler.dense.bias" not in fit(found(state), section(), TOKENS, "finetune").state
    state["bert.pooler.dense.bias"] = torch.zeros(8)
    with pytest.raises(WeightsError, match=r"in 1 places: bert.pooler.dense.weight is missing"):
        fit(found(state), section(), TOKENS, "finetune")
    without = section(next_sentence=False)
    assert "bert.pooler.dense.bias" in fit(found(weights()), without, TOKENS, "finetune").state


def test_a_run_without_next_sentences_skips_that_head_and_its_pooler():
    fitted = fit(found(weights()), section(next_sentence=False), TOKENS, "phase2")

    assert fitted.state.keys() == network(next_sentence=False).state_dict().keys()
    assert fitted.skipped["x.cls.seq_relationship.bias"] == "model.next_sentence is false"
    assert len(fitted.skipped) == 4


def without(*prefixes):
    return lambda state: {n: t for n, t in state.items() if not n.startswith(prefixes)}


def changed(name, tensor):
    return lambda state: state | {name: tensor}


BIAS = "bert.pooler.dense.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("cls.predictions"),
            r"in 5 places: cls.predictions.bias is missing; cls.pred.*Pre",
        ),
        (without("cls.seq"), r"cls.seq_relationship.bias is missing.*set model.next_sentence to"),
        (without("bert.encoder.layer.0."), r"bert.encoder.layer.0.attention.output.*is missing"),
        (without(TABLES[0]), "bert.embeddings.word_embeddings.weight is missing"),
        (changed("extra", torch.zeros(1)), "in 1 places: extra is unknown"),
        (changed("classifier.bias", torch.zeros(1)), "classifier.bias is unknown"),
        (changed(BIAS, torch.zeros(7)), r"pooler.dense.bias has shape \(7,\), expected \(8,\)"),
        (changed(BIAS, torch.full((8,), torch.nan)), "x.bert.pooler.dense.bias .* holds NaN"),
        (changed(BIAS, torch.zeros(8, dtype=torch.int8)), "has type torch.int8; expected floating"),
        (changed(TABLES[1], torch.zeros(15)), "a vocabulary of 15 tokens, the run has 11"),
    ],
)
def test_what_does_not_fit_a_phase_is_refused(change, message):
    with pytest.raises(WeightsError, match=message):
        fit(found(change(weights())), section(), TOKENS, "phase1")


def test_files_that_contradict_themselves_or_the_vocabulary_are_refused():
    with pytest.raises(WeightsError, match="hidden_size is 16 in their configuration and 8 by"):
        fit(found(weights(), SAID | {"hidden_size": 16}), section(), TOKENS, "phase1")
    with pytest.raises(WeightsError, match="a vocabulary of 30522 tokens, the run has 11"):
        fit(found(weights(), vocab_size=30522), section(), TOKENS, "phase1")
    with pytest.raises(WeightsError, match="a vocabulary of 11 tokens, the run has 13"):
        fit(found(weights()), section(), 13, "phase1")
    with pytest.raises(ConfigError, match="not a multiple of num_attention_heads 3"):
        fit(found(weights(), SAID | {"num_attention_heads": 3}), section(), TOKENS, "phase1")


def test_half_precision_becomes_fp32_exactly():
    state = {name: tensor.half() for name, tensor in weights().items()}
    fitted = fit(found(state), section(vocab_multiple=1), TOKENS, "phase1")
    assert_same(fitted.state, {name: tensor.float() for name, tensor in state.items()})
