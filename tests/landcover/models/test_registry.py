import pydantic
import pytest
from tiny import architecture

from landcover import config
from landcover.errors import InputError
from landcover.models.metadata import Inputs, Metadata
from landcover.models.registry import FAMILIES, Architecture, Parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_params_yaml_has_each_family(default_params, family):
    chosen = Architecture.model_validate(default_params["model"] | {"name": family})
    assert isinstance(chosen.parameters, FAMILIES[family].parameters)
    assert Architecture.from_json(chosen.to_json()).parameters == chosen.parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "vit"}, r"(?i)model\.name = 'vit': input should be .*'cnn'.*'resnet'"),
        ({"name": "resnet", "resnet": None}, "model: name is resnet, but there are no parameters of that name; add"),
        ({"resnet": {"widths": [], "dropout": 0}}, r"(?i)model\.resnet\.widths = \[\]: list should have at least 1"),
    ],
)
def test_what_is_no_family_or_lacks_its_parameters_is_refused(default_params, change, message):
    with pytest.raises(InputError, match=message):
        config.validate("model", Architecture, default_params["model"] | change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"padding": "same", "kernel": 4}, "padding 'same' requires an odd kernel"),
        ({"residual": True}, "set padding to 'same'"),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        architecture(**changes)


def test_a_network_that_runs_out_of_pixels_is_refused():
    deep = architecture(convolutions=[8, 16, 32]).parameters
    with pytest.raises(ValueError, match="convolutional layer 3 gets only 6 x 6 pixels"):
        deep.check_patch_size(120)
    deep.check_patch_size(256)


def test_the_report_describes_a_network_in_words():
    words = "2 convolutional layers (8, 16 channels), 100 hidden units; kernel 5, stride 2, pooling 2"
    assert architecture().describe() == words
    assert architecture(standardize="moments").describe() == f"{words}; input standardized by moments"
    assert architecture("resnet", widths=[8, 16]).describe() == "a residual network of 2 blocks (8, 16 channels)"


def test_a_file_states_only_what_a_model_has():
    plain = Metadata(architecture=architecture(), inputs=Inputs(("B02",), ("a", "b"), 64), parameters=1)
    facts = plain.to_json()
    assert not {"context", "modality_dropout", "seeds"} & facts.keys()
    assert (facts["bands"], facts["classes"], facts["architecture"]["kernel"]) == (["B02"], ["a", "b"], 5)
    assert Metadata.from_json(facts).to_json() == facts
    with pytest.raises(ValueError, match="it has no classes"):
        Metadata.from_json({key: value for key, value in facts.items() if key != "classes"})


def test_a_family_is_described_by_its_name_and_parameters():
    class Spectra(Parameters):
        width: int

    assert Spectra(width=32).describe() == "Spectra with width 32"
