import ast
from pathlib import Path

import pytest
import yaml

from landcover import config
from landcover.config import Baseline, Runtime, Training
from landcover.errors import InputError, redact


def test_a_number_that_yaml_reads_as_a_string_is_a_number(tmp_path, default_params):
    (tmp_path / "params.yaml").write_text("train: {learning_rate: 1e-5}")
    raw = config.load(tmp_path / "params.yaml")["train"]["learning_rate"]
    assert raw == "1e-5"  # YAML 1.1 wants a dot
    assert config.validate("train", Training, default_params["train"] | {"learning_rate": raw}).learning_rate == 1e-5


def test_yes_and_no_are_text_as_dvc_writes_them_without_quotes(tmp_path, default_params):
    (tmp_path / "params.yaml").write_text("train: {shuffle: yes, flips: true}\nclasses: [oak, no, off, on]")
    raw = config.load(tmp_path / "params.yaml")
    assert raw["classes"] == ["oak", "no", "off", "on"]
    training = config.validate("train", Training, default_params["train"] | raw["train"])
    assert (training.shuffle, training.flips) == (True, True)


@pytest.mark.parametrize(
    ("section", "schema", "change", "message"),
    [
        ("train", Training, {"epochs": -1}, "train.epochs = -1: Input should be greater than or equal to 1"),
        ("train", Training, {"epochs": 1.5}, "train.epochs = 1.5: Input should be a valid integer"),
        ("train", Training, {"learning_rate": "fast"}, "train.learning_rate = 'fast': Input should be a valid number"),
        ("train", Training, {"learning_rate": float("nan")}, "train.learning_rate = nan: Input should be a finite"),
        ("train", Training, {"optimizer": "adamm"}, "train.optimizer = 'adamm': Input should be 'adam', 'adamw' or"),
        ("train", Training, {"epoch": 3}, "train: no such parameter 'epoch'; did you mean 'epochs'?"),
        ("train", Training, {"epochs": True}, "train: epochs cannot be true or false"),
        ("train", Training, {"shuffle": "perhaps"}, "train.shuffle = 'perhaps': Input should be a valid boolean"),
        ("baseline", Baseline, {"inverse_regularization": 1.0}, "regularization = 1.0: Input should be a valid list"),
        ("baseline", Baseline, {"inverse_regularization": []}, "regularization = []: List should have at least 1"),
        ("baseline", Baseline, {"inverse_regularization": [1, 0]}, "regularization.1 = 0: Input should be greater"),
        ("train", Training, {"modality_dropout": 1}, "train.modality_dropout = 1: Input should be less than 1"),
        ("train", Training, {"freeze": -1}, "train.freeze = -1: choose all, or a number of epochs from 0"),
        ("train", Training, {"freeze": "some"}, "train.freeze = 'some': choose all, or a number"),
        ("train", Training, {"init": "https://h/w.pth"}, "train: init is a URL: give the file's sha256 in init_sha256"),
        ("train", Training, {"init": "https://u:s@h/w.pth"}, "put them in ~/.netrc"),
        ("train", Training, {"init_sha256": "abc"}, "train.init_sha256 = 'abc': String should match"),
        ("train", Training, {"init_bands": ["B99"]}, "train.init_bands.0 = 'B99': Input should be 'B01'"),
        ("train", Training, {"init_mean": [0.1]}, "train: init_mean and init_std: give one number for each band in"),
        ("baseline", Baseline, {"embeddings": "e.csv"}, "baseline.embeddings = 'e.csv': give a .parquet or .npz of"),
        ("runtime", Runtime, {"device": "gpu"}, "device = 'gpu': choose auto, cpu, cuda, cuda:<number> or mps"),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(default_params, section, schema, change, message):
    with pytest.raises(InputError) as error:
        config.validate(section, schema, default_params[section] | change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_parameter_is_named(default_params):
    lacking = {key: value for key, value in default_params["train"].items() if key != "epochs"}
    with pytest.raises(InputError, match=r"train\.epochs: is missing"):
        config.validate("train", Training, lacking)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "is not YAML"), ("", "contains no sections"), (None, "not found")]
)
def test_a_broken_params_file_is_one_clear_line(tmp_path: Path, text, message):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        config.load(path)
    assert "\n" not in str(error.value)


def test_the_defaults_are_valid_as_a_whole(default_params):
    found = config.check(default_params)
    assert set(dict(found)) == set(default_params)
    assert found.datasets["ben-ge-8k"].split == config.Files(method="files")
    assert found.datasets["ben-ge-sample"].split.train == 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "ben-ge"}, "dataset = 'ben-ge': no such entry in datasets; choose from mine"),
        ({"dataset": 3}, "dataset = 3: Input should be a valid string"),
        ({"datasets": []}, "datasets = []: Input should be a valid dictionary"),
        ({"datasets": {"mine": None}}, "datasets.mine = None: Input should be a valid dictionary"),
        ({"trian": {}}, "no such parameter 'trian'; did you mean 'train'?"),
        ({"bands": "B02"}, "bands = 'B02': Input should be a valid list"),
        ({"bands": ["B99"]}, "bands.0 = 'B99': Input should be 'B01', 'B02'"),
        ({"bands": ["B02", "B02"]}, "bands = ['B02', 'B02']: list each"),
        ({"bands": []}, "bands = []: List should have at least 1"),
        ({"train": None}, "train = None: Input should be a valid dictionary"),
        (
            {"evaluate": {"resamples": 10, "seed": 0}},
            "evaluate.resamples = 10: Input should be greater than or equal",
        ),
    ],
    ids=str,
)
def test_whatever_is_wrong_is_told_before_any_stage_works(default_params, mine, change, message):
    with pytest.raises(InputError) as error:
        config.check(default_params | {"dataset": "mine", "datasets": {"mine": mine}} | change)
    assert str(error.value).startswith(f"params.yaml: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}])
def test_what_changes_labels_is_refused_with_shares(default_params, change):
    train = default_params["train"] | {"target": "shares"}
    assert config.check(default_params | {"train": train}).train.target == "shares"
    with pytest.raises(InputError) as error:
        config.check(default_params | {"train": train | change})
    assert str(error.value) == (
        "params.yaml: train: target = 'shares' takes neither class_weights nor label_smoothing, which would change the "
        "shares; set class_weights to none and label_smoothing to 0"
    )


@pytest.fixture
def mine() -> dict:
    return {"source": "x", "split": {"method": "order", "train": 1, "val": 1, "test": 1}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sorce": "x"}, "mine: no such parameter 'sorce'; did you mean 'source'?"),
        ({"md5": "abc"}, "mine.md5 = 'abc': "),
        ({"source": ""}, "mine.source: String should have at least 1"),
        ({"source": None}, "mine.source: Input should be a valid string"),
        (
            {"split": {"method": "rows"}},
            "mine.split.method = 'rows': Input should be 'order', 'random', 'place', 'files'",
        ),
        ({"split": {"val": 0.2}}, "mine.split.method: is missing; add it, as the comments in params.yaml say"),
        ({"split": "order"}, "mine.split = 'order': Input should be a valid dictionary"),
        ({"split": {"method": "order", "train": 0, "val": 1, "test": 1}}, "mine.split.train = 0: "),
        ({"split": {"method": "order", "train": 1, "val": 1}}, "mine.split.test: is missing; add it"),
        (
            {"split": {"method": "order", "train": 0.7, "val": 15, "test": 15}},
            "mine.split: train, val, test: give all as numbers of patches, or all as shares",
        ),
        (
            {"split": {"method": "order", "train": 0.7, "val": 0.2, "test": 0.2}},
            "mine.split: train + val + test = 1.1: shares must add up to 1; correct them, or give numbers of patches",
        ),
        (
            {"split": {"method": "order", "train": 70.5, "val": 15, "test": 15}},
            "mine.split.train = 70.5: give a number of patches from 1, or a share of them between 0 and 1",
        ),
        (
            {"split": {"method": "random", "val": 0.5, "test": 0.5, "seed": 0}},
            "mine.split: val + test must be below 1",
        ),
        (
            {"split": {"method": "random", "val": 0.5, "test": 5, "seed": 0}},
            "mine.split: val, test: give all as numbers of patches, or all as shares",
        ),
        (
            {"split": {"method": "random", "train": 0.5, "val": 0.1, "test": 0.1, "seed": 0}},
            "mine.split: train + val + test = 0.7: shares must add up to 1",
        ),
        ({"split": {"method": "random", "val": 0.1, "test": 0.1}}, "mine.split.seed: is missing"),
        ({"split": {"method": "random", "val": True, "test": 0.1}}, "mine.split: val cannot be true or false"),
        ({"split": {"method": "files", "train": 5}}, "mine.split: no such parameter 'train'; choose from method"),
        (
            {"split": {"method": "place", "val": 0.5, "test": 0.5, "seed": 0}},
            "mine.split: val + test must be below 1",
        ),
        ({"split": {"method": "place", "val": 1.5, "test": 0.5, "seed": 0}}, "mine.split.val = 1.5: "),
        ({"exclude": ["../clouds.csv"]}, "mine.exclude.0 = '../clouds.csv': "),
        ({"patch_size": 16}, "mine.patch_size = 16: Input should be greater than or equal to 17"),
        ({"classes": ["forest"]}, "mine.classes = ['forest']: List should have at least 2 items"),
        ({"classes": ["forest", "forest"]}, "mine.classes = ['forest', 'forest']: list each one once"),
        ({"classes": ["forest", "None"]}, "mine.classes.1 = 'None': start with a letter, then use letters"),
        ({"classes": ["forest", "a|b"]}, "mine.classes.1 = 'a|b': start with a letter"),
        ({"offset": "automatic"}, "mine.offset = 'automatic': choose auto, or a whole number from 0 to 10000"),
        ({"offset": 1.5}, "mine.offset = 1.5: choose auto"),
        ({"offset": -1}, "mine.offset = -1: choose auto"),
        ({"offset": True}, "mine: offset cannot be true or false"),
        ({"layout": "folder"}, "mine.layout = 'folder': Input should be 'ben-ge', 'table' or 'folders'"),
        ({"bands": ["B02", "red"]}, "mine.bands = ['B02', 'red']: list the bands in the order in which files hold"),
        ({"bands": {"B02": 0}}, "mine.bands: give each band a position of its own, counted from 1"),
        ({"bands": {"B02": 1, "B03": 1}}, "mine.bands: give each band a position of its own, counted from 1"),
        ({"scale": 0}, "mine.scale = 0: Input should be greater than 0"),
        ({"positions": "../p.csv"}, "mine.positions = '../p.csv': "),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_dataset_is_told(default_params, mine, change, message):
    with pytest.raises(InputError) as error:
        config.check(default_params | {"dataset": "mine", "datasets": {"mine": mine | change}})
    assert str(error.value).startswith(f"params.yaml: datasets.{message}")
    assert "\n" not in str(error.value)


def test_own_classes_size_and_offset_are_accepted(default_params, mine):
    own = {"patch_size": 64, "classes": ["Annual Crop", "forêt", "Transitional woodland, shrub"], "offset": 1000}
    found = config.check(default_params | {"dataset": "mine", "datasets": {"mine": mine | own}}).datasets["mine"]
    assert {key: getattr(found, key) for key in own} == own


@pytest.mark.parametrize(
    ("size", "change", "message"),
    [
        (120, {"convolutions": [8, 16, 32]}, "model: convolutional layer 3 gets only 6 x 6 pixels"),
        (20, {}, "model: convolutional layer 2 gets only 4 x 4 pixels"),
    ],
)
def test_what_does_not_fit_the_patches_is_told(default_params, mine, size, change, message):
    wrong = default_params | {"dataset": "mine", "datasets": {"mine": mine | {"patch_size": size}}}
    wrong |= {"model": default_params["model"] | {"cnn": default_params["model"]["cnn"] | change}}
    with pytest.raises(InputError) as error:
        config.check(wrong)
    assert str(error.value).startswith(f"params.yaml: {message}")


def test_the_scaling_of_weights_needs_a_standardized_input(default_params):
    train = default_params["train"] | {"init_bands": ["B02"], "init_mean": [0.1], "init_std": [0.1]}
    with pytest.raises(InputError, match=r"params\.yaml: train\.init_mean: .*; set model\.standardize to moments"):
        config.check(default_params | {"train": train})
    model = default_params["model"] | {"standardize": "moments"}
    assert config.check(default_params | {"train": train, "model": model}).train.frozen(1) is False


def test_epochs_are_frozen_as_asked(default_params):
    def frozen(freeze: int | str) -> list[bool]:
        settings = Training.model_validate(default_params["train"] | {"freeze": freeze})
        return [settings.frozen(epoch) for epoch in (1, 2, 3)]

    assert frozen(0) == [False, False, False]
    assert frozen(2) == [True, True, False]
    assert frozen("all") == [True, True, True]


def test_resized_patches_may_be_small_or_too_small(default_params, mine):
    params = default_params | {"dataset": "mine", "datasets": {"mine": mine | {"patch_size": 20}}}
    config.check(params | {"model": default_params["model"] | {"resize": 64}})
    large = params | {"datasets": {"mine": mine | {"patch_size": 120}}}
    with pytest.raises(InputError, match="convolutional layer 2 gets only 4 x 4 pixels"):
        config.check(large | {"model": default_params["model"] | {"resize": 20}})


def test_folds_are_none_or_at_least_four_and_a_locked_test_split_is_by_place(default_params):
    def told(dataset: str, **repeat) -> str:
        with pytest.raises(InputError) as error:
            config.check(default_params | {"dataset": dataset, "repeat": default_params["repeat"] | repeat})
        return str(error.value)

    assert "repeat.folds = 3: choose 0 for none, or at least 4" in told("ben-ge-sample", folds=3)
    assert "repeat.test = 'locked': ben-ge-sample is split by order" in told("ben-ge-sample", folds=5, test="locked")


def test_all_that_is_wrong_is_told_at_once(default_params):
    wrong = default_params | {"bands": [], "train": default_params["train"] | {"epochs": 0, "seed": -1}}
    del wrong["repeat"]
    with pytest.raises(InputError) as error:
        config.check(wrong)
    for key in ("bands = []", "train.epochs = 0", "train.seed = -1", "repeat: is missing"):
        assert key in str(error.value)


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        *((source, "put them in ~/.netrc") for source in ("https://user:s3cret@host/a.tar.gz", "https://s3cret@h/a")),
        *((source, "is no valid http(s) URL") for source in (
            "ftp://host/s3.tar.gz", "https:/u:s3cret@h/a", "https://u:s3/cret@host/a", "https://u:s3cret#@host/a",
            "https://u:s3cret?@host/a", "http://[s3/a.tar.gz",
        )),
        *((f"https://host/a.tar.gz?{query}", "?$QUERY") for query in ("sig=s3cret", "download=1&a=s3cret", "$")),
    ],
)  # fmt: skip
def test_source_holds_no_secret_and_no_message_echoes_one(default_params, source, remedy):
    entry = {"source": source, "split": {"method": "files"}}
    with pytest.raises(InputError) as error:
        config.check(default_params | {"datasets": default_params["datasets"] | {"mine": entry}})
    assert remedy in str(error.value)
    assert "s3" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [{"mine": "https://u:s3cret@host/a"}, {"mine": {"source": {"url": "s3cret"}, "split": {"method": "files"}}}],
)
def test_a_secret_in_the_wrong_place_is_not_echoed(default_params, change):
    with pytest.raises(InputError, match=r"datasets\.mine") as error:
        config.check(default_params | {"datasets": default_params["datasets"] | change})
    assert "s3" not in str(error.value)


@pytest.mark.parametrize(
    "source", ["https://h:8080/a@b.tar.gz", "https://h/a.tar.gz?download=1", "https://h/a?$SAS_TOKEN", "/data/a@b:c?d"]
)
def test_source_may_hold_what_is_no_secret(default_params, source):
    entry = {"source": source, "split": {"method": "files"}}
    config.check(default_params | {"datasets": default_params["datasets"] | {"mine": entry}})


def test_redact():
    told = redact("https://u:p@h:1/a?k=v: answers 403; or url: /b?k=v (http://u@h)")
    assert told == "https://h:1/a?...: answers 403; or url: /b?... (http://h)"


def test_params_are_utf8_whatever_the_locale(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getencoding", lambda: "latin-1")
    monkeypatch.setattr("io.text_encoding", lambda *_: "latin-1")
    (tmp_path / "params.yaml").write_bytes("dataset: Forêt".encode())
    assert config.load(tmp_path / "params.yaml") == {"dataset": "Forêt"}


@pytest.mark.parametrize("name", ["ben-ge-v2.0", "a b[0]"])
def test_the_name_of_a_dataset_has_no_dots_as_dvc_splits_paths_at_them(default_params, name):
    datasets = {name: default_params["datasets"]["ben-ge-sample"]}
    with pytest.raises(InputError) as error:
        config.check(default_params | {"datasets": datasets, "dataset": name})
    assert str(error.value).startswith(f"params.yaml: datasets: {name!r} has other characters than letters, digits, ")


def test_no_default_of_the_schema_decides_bytes():
    """The schema is in no deps: a default is nothing, or a constant of a module that is."""
    tree = ast.parse(Path(config.__file__).read_text())
    sections = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name != "Architecture"]
    fields = [field for section in sections for field in section.body]
    defaults = [ast.unparse(field.value) for field in fields if isinstance(field, ast.AnnAssign) and field.value]
    empty = ("pydantic.Field(default_factory=list)", "pydantic.Field(default_factory=dict)")
    harmless = ("None", *empty, "'accuracy'")  # the last, of evaluate.verdict
    own = [text for text in defaults if text not in harmless]
    assert own
    assert [text for text in own if "constants." not in text] == []


def test_a_colour_without_quotes_is_told(default_params, tmp_path):
    entry = default_params["datasets"]["ben-ge-sample"]
    written = yaml.safe_load('{oak: "#1b7837",\n fir: #88ccee\n}')  # the second is a comment to YAML
    params = default_params | {"datasets": {"ben-ge-sample": entry | {"colours": written}}}
    with pytest.raises(InputError) as error:
        config.check(params)
    assert str(error.value) == (
        'params.yaml: datasets.ben-ge-sample.colours.fir = None: write a colour in quotes, as "#1b7837": two '
        "hexadecimal digits each of red, green and blue"
    )


def test_commands_know_the_colours_of_an_entry_if_there_is_one(tmp_path):
    path = tmp_path / "params.yaml"
    assert config.chosen_colours("mine", path) == {}
    path.write_text('datasets: {mine: {colours: {oak: "#1b7837"}}, other: {}}')
    assert config.chosen_colours("mine", path) == {"oak": "#1b7837"}
    assert config.chosen_colours("other", path) == config.chosen_colours("gone", path) == {}
