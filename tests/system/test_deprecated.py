"""Old names of classes and functions lead to the new ones, with a warning that says how they are called now."""

import importlib

import pytest

OLD = {
    "measure.cold_start": {"fresh": "cold_start", "Fresh": "ColdStart"},
    "quant.core": {"quantize": "insert_quantizers"},
    "quant.clipping": {"Bounds": "ClippingRange"},
    "quant.layers": {"Balanced": "Equalized"},
    "quant.lossless": {"Settings": "LosslessSettings"},
    "quant.ptq.bit_allocation": {"mixed": "mixed_precision"},
    "quant.ptq.compensated_rounding": {"compensate": "round_with_compensation"},
    "quant.ptq.equalize": {"balance": "equalize"},
    "quant.ptq.input_range": {"widen": "search_input_range"},
    "quant.ptq.last_layer": {"Finish": "LastLayerSettings", "finish": "reconstruct_last_layer"},
    "quant.ptq.sensitivity": {"blame": "sensitivity"},
    "quant.qat.published_names": {"load_official": "load_published"},
    "quant.recorded": {"quantize": "insert_quantizers", "balance": "equalize", "compensate": "compensate_rounding"},
    "reparam.receipt": {"Receipt": "EquivalenceReceipt"},
    "verbs.quantize": {"Settings": "QuantizationSettings", "METHODS": "POST_TRAINING_METHODS"},
    "verbs.receipt": {"Receipt": "QuantizationReceipt"},
    "data.prepare": {"Plan": "PreparationPlan"},
}


@pytest.mark.parametrize(("module", "old", "new"), [(m, *pair) for m, names in OLD.items() for pair in names.items()])
def test_an_old_name_is_the_new_one(module, old, new):
    place = importlib.import_module(f"sharpbit.{module}")
    with pytest.warns(DeprecationWarning, match=rf"{old} is now .*{new}"):
        found = getattr(place, old)
    assert found is getattr(place, new)


def test_a_name_that_never_was_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module("sharpbit.quant.core").nothing  # noqa: B018
