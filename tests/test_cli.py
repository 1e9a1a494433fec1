from pathlib import Path

import pytest

from stages import cli
from stages.benge import Bands
from stages.model import Architecture
from stages.training import Training


def test_defaults_are_valid(default_params):
    assert cli.validate("train", Training, default_params["train"]).learning_rate == 1e-4
    assert cli.validate("model", Architecture, default_params["model"]).convolutions == [8, 16]
    assert cli.validate("runtime", cli.Runtime, default_params["runtime"]).threads == 2


def test_a_number_that_yaml_reads_as_a_string_is_a_number(tmp_path, default_params):
    (tmp_path / "params.yaml").write_text("train: {learning_rate: 1e-5}")
    raw = cli.load_params(tmp_path / "params.yaml")["train"]["learning_rate"]
    assert raw == "1e-5"  # YAML 1.1 wants a dot
    assert cli.validate("train", Training, default_params["train"] | {"learning_rate": raw}).learning_rate == 1e-5


@pytest.mark.parametrize(
    ("section", "schema", "change", "message"),
    [
        ("train", Training, {"epochs": -1}, "train.epochs = -1: input should be greater than or equal to 1"),
        ("train", Training, {"epochs": 1.5}, "train.epochs = 1.5: input should be a valid integer"),
        ("train", Training, {"learning_rate": "fast"}, "train.learning_rate = 'fast': input should be a valid number"),
        ("train", Training, {"learning_rate": float("nan")}, "train.learning_rate = nan: input should be a finite"),
        ("train", Training, {"optimizer": "adamm"}, "train.optimizer = 'adamm': input should be 'adam', 'adamw' or"),
        ("train", Training, {"epoch": 3}, "train.epoch: no such parameter; did you mean 'epochs'?"),
        ("train", Training, {"epochs": True}, "train.epochs = True: true and false are no values for it"),
        ("train", Training, {"shuffle": "perhaps"}, "train.shuffle = 'perhaps': input should be a valid boolean"),
        ("model", Architecture, {"convolutions": []}, "model.convolutions = []: list should have at least 1 item"),
        ("model", Architecture, {"convolutions": [8, -1]}, "model.convolutions.1 = -1: input should be greater than"),
        (
            "model",
            Architecture,
            {"convolutions": [8, 16, 32]},
            "params.yaml: model: convolutional layer 3 has only 6 x 6 pixels",
        ),
        ("model", Architecture, {"residual": True}, "set padding to 'same'"),
        (
            "runtime",
            cli.Runtime,
            {"device": "gpu"},
            "runtime.device = 'gpu': choose auto, cpu, cuda, cuda:<number> or mps",
        ),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(default_params, section, schema, change, message):
    with pytest.raises(cli.InputError) as error:
        cli.validate(section, schema, default_params[section] | change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_parameter_is_named(default_params):
    lacking = {key: value for key, value in default_params["train"].items() if key != "epochs"}
    with pytest.raises(cli.InputError, match=r"train\.epochs: is missing"):
        cli.validate("train", Training, lacking)


@pytest.mark.parametrize(
    ("bands", "message"),
    [(["B99"], "bands.0 = 'B99': input should be 'B01', 'B02'"), (["B02", "B02"], "once"), ([], "at least 1")],
)
def test_bands_are_checked(bands, message):
    with pytest.raises(cli.InputError, match=message):
        cli.validate("bands", Bands, bands)


@pytest.mark.parametrize(("text", "message"), [("a: [", "is not YAML"), ("", "holds no sections"), (None, "not found")])
def test_a_broken_params_file_is_one_clear_line(tmp_path: Path, text, message):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(cli.InputError, match=message) as error:
        cli.load_params(path)
    assert "\n" not in str(error.value)


def test_arguments_come_from_the_sections_of_their_names(default_params):
    def stage(path: Path, *, bands: Bands, runtime: cli.Runtime):
        raise AssertionError("not to be called")

    found = cli.arguments(stage, default_params)
    assert found["bands"] == ["B02", "B03", "B04", "B08"]
    assert found["runtime"].workers == default_params["runtime"]["workers"]
    with pytest.raises(cli.InputError, match="bands: is missing"):
        cli.arguments(stage, {})


def test_bad_input_ends_in_one_line_and_exit_1(run_stage):
    done = run_stage("unpack", "data/archive.tar.gz", "data/patches", params={"bands": ["B77"]})
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: bands.0 = 'B77'")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_ends_in_one_line_and_exit_1(run_stage):
    done = run_stage("unpack", "data/archive.tar.gz", "data/patches")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "data/archive.tar.gz: No such file or directory" in done.stderr


def test_wrong_arguments_show_the_usage(run_stage):
    done = run_stage("unpack", "data/archive.tar.gz")
    assert done.returncode == 1
    assert "usage: python -m stages.unpack ARCHIVE_PATH PATCHES_DIR" in done.stderr
    done = run_stage("download", "-h")  # not taken for the one path of this stage
    assert done.returncode == 0
    assert "usage: python -m stages.download ARCHIVE_PATH" in done.stdout


def test_a_bug_shows_its_traceback():
    def buggy():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.guard(buggy)


def test_an_interrupt_exits_130():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        cli.guard(interrupted)
    assert stop.value.code == 130
