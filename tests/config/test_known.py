"""What a recipe knows of its model or sample is forgotten when the user names another."""

from __future__ import annotations

EXTENDS = "defaults: [bert/text_classification]\n"


def test_another_model_on_the_command_line_drops_the_facts_of_the_recipes_model(compose):
    kept = compose("model=minilm").model
    assert (kept.mirror, kept.sha256) != (None, None)
    model = compose("model=minilm", "model.name_or_path=./mine").model
    assert (model.mirror, model.sha256, model.revision, model.license) == (None,) * 4
    assert model.train_defaults == {}


def test_facts_given_beside_the_other_model_are_kept(compose):
    model = compose("model=minilm", "model.name_or_path=org/x", "model.revision=v1").model
    assert (model.name_or_path, model.revision, model.mirror) == ("org/x", "v1", None)


def test_how_a_model_is_loaded_is_no_fact_and_stays(own_recipe, compose):
    recipe = own_recipe("mine", EXTENDS + "model: {dropout: 0.2}\n")
    assert compose(recipe, "model.name_or_path=./mine").model.dropout == 0.2


def test_a_users_file_drops_the_samples_columns_and_slices(compose):
    assert compose().data.slices
    data = compose("data.path=mail.csv").data
    assert (data.path, data.columns, data.slices) == ("mail.csv", {}, [])


def test_columns_given_with_the_users_file_are_all_there_are(compose):
    data = compose("data.path=mail.csv", "data.columns.label=queue").data
    assert data.columns == {"label": "queue"}
    data = compose("data.path=mail.csv", "data.columns={text: text, label: queue}").data
    assert data.columns == {"text": "text", "label": "queue"}
    data = compose("data.path=mail.csv", "data.columns.text=text").data
    assert data.columns == {"text": "text"}


def test_columns_that_the_recipe_itself_names_stay_with_the_users_file(own_recipe, compose):
    recipe = own_recipe("mine", EXTENDS + "data: {columns: {label: queue}}\n")
    assert compose(recipe, "data.path=mail.csv").data.columns == {"label": "queue"}


def test_training_files_replace_the_samples_path(compose):
    data = compose("data.train=a.csv", "data.test=b.csv").data
    assert (data.path, data.train, data.test) == (None, "a.csv", "b.csv")


def test_another_test_file_alone_keeps_the_recipes_training_file(own_recipe, compose):
    recipe = own_recipe("mine", EXTENDS + "data: {path: null, train: a.csv, test: b.csv}\n")
    data = compose(recipe, "data.test=c.csv").data
    assert (data.train, data.test) == ("a.csv", "c.csv")


def test_train_keys_are_filled_by_the_base_then_by_the_strategy(compose):
    assert compose("strategy=lora").train.learning_rate == 2e-4
    assert compose("strategy=full").train.learning_rate == 5e-5
    known = "model.train_defaults={lora: {learning_rate: 0.003, global_batch_size: 8}}"
    train = compose("strategy=lora", known).train
    assert (train.learning_rate, train.global_batch_size) == (0.003, 8)
    assert compose("strategy=full", known).train.learning_rate == 5e-5
    assert compose().train.num_train_epochs == 3.0


def test_train_keys_that_somebody_set_stay(compose):
    known = "model.train_defaults={lora: {learning_rate: 0.003, global_batch_size: 8}}"
    train = compose(
        "strategy=lora", known, "train.learning_rate=1", "train.global_batch_size=32"
    ).train
    assert (train.learning_rate, train.global_batch_size) == (1.0, 32)
    assert compose("strategy=lora", known, "train.learning_rate=null").train.learning_rate == 0.003


def test_a_wrong_train_default_is_told_by_its_key(refused):
    error = refused("strategy=lora", "model.train_defaults={lora: {learning_rat: 0.003}}")
    assert "`model.train_defaults.lora.learning_rat` is unknown" in str(error)
