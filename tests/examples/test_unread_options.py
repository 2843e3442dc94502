"""Options of the training scripts that have no effect beside the others are refused."""

import pytest

from example_scripts import options_of
from noisy_xmodal import NcrConfig
from noisy_xmodal.arguments.pairs import PairArguments

OUT = ["--output_dir", "unused", "--use_cpu", "True"]
BERT = ["--text_model_name_or_path", "bert"]
ALONE = "--text_model_name_or_path bert --words_beside False"

#: Script, options of which the first one is not read, and options that make it read.
CASES = [
    ("train_ncr", "--noise_seed 3", "--inject_noise cmp_40"),
    ("train_ncr", "--objects_from tags", "--dataset_config_name part_40"),
    ("train_ncr", "--objects_from captions --inject_noise cmp_20", "--inject_noise part_20"),
    ("train_ncr", "--id_column name", "--dataset_name photos"),
    ("train_ncr", "--on_bad_image skip", "--dataset_name photos"),
    ("train_ncr", f"--word_size 64 {ALONE}", "--text_model_name_or_path="),
    ("train_ncr", f"--dropout 0.1 {ALONE}", "--words_beside True"),
    ("train_ncr", "--vision_training full", "--vision_model_name_or_path resnet"),
    ("train_ncr", "--text_training frozen", "--text_model_name_or_path bert"),
    (
        "train_ncr",
        "--text_layers 1 --text_model_name_or_path bert --text_training full",
        "--text_training frozen",
    ),
    ("train_ncr", "--text_layers 2", "--text_model_name_or_path bert --text_training frozen"),
    ("train_ncr", "--lora_rank 4", "--text_training lora --text_model_name_or_path bert"),
    ("train_ncr", "--words_beside True", "--text_model_name_or_path bert"),
    (
        "train_ncr",
        "--min_word_frequency 1 --text_model_name_or_path bert",
        "--text_model_name_or_path=",
    ),
    ("train_ncr", "--margin 0.2", "--objective triplet"),
    ("train_ncr", "--captioner_size 16", "--method vsrn"),
    ("train_ncr", "--box_geometry 5d", "--region_layers 1"),
    ("train_ncr", "--box_column regions_at", "--box_geometry 5d --region_layers 1"),
    ("train_ncr", "--soft_margin sine --robust False", "--robust True"),
    ("train_ncr", "--curve 5 --objective soft_infonce", "--objective triplet"),
    ("train_ncr", "--rectification epoch --co_rectify False", "--co_rectify True"),
    ("train_ncr", "--co_rectify False --robust False", "--robust True"),
    ("train_ncr", "--co_divide False --robust False", "--robust True"),
    ("train_rcar", "--noise_seed 3", "--inject_noise cmp_40"),
    ("train_rcar", "--mask_weight 2 --mlm_epochs 0", "--mlm_epochs 2"),
    ("train_rcar", "--masking bert --mlm_epochs 0", "--mlm_epochs 2"),
    ("train_rcar", "--mixture gaussian --robust False", "--robust True"),
    ("train_rcar", "--refurbishment soft --robust False", "--robust True"),
    (
        "train_rcar",
        "--text_hidden_layers 1 --text_model_name_or_path bert",
        "--text_model_name_or_path=",
    ),
    ("train_rcar", "--shortlist_weight 8", "--shortlist_model_name_or_path model"),
    ("train_rcar", "--negatives similar", "--shortlist_model_name_or_path model"),
    ("train_rcar", "--text_training frozen", "--text_model_name_or_path bert"),
    (
        "train_rcar",
        "--encoder_learning_rate 1e-4 --text_model_name_or_path bert",
        "--text_training full",
    ),
    ("train_rcar", "--vision_training full", "--vision_model_name_or_path resnet"),
    (
        "train_rcar",
        "--encoder_learning_rate 1e-4 --vision_model_name_or_path resnet",
        "--vision_training full",
    ),
    ("train_rcar", "--stream_start text", "--text_model_name_or_path bert"),
    (
        "train_rcar",
        "--hidden_size 64 --stream_start text --text_model_name_or_path bert",
        "--stream_start fresh",
    ),
    ("train_rcar", "--box_column boxes", "--box_geometry 5d"),
    ("train_rcar", "--shortlist_size 8", "--shortlist_model_name_or_path model"),
    ("train_dmcm", "--noise_seed 3", "--inject_noise sym_40"),
    ("train_dmcm", "--label_column kind", "--dataset_name photos"),
    ("train_dmcm", "--freeze_backbone False", "--backbone_name_or_path clip"),
    ("train_dmcm", "--mixing_weight 0.3 --robust False", "--robust True"),
    ("train_dmcm", "--noise_rate 0.4 --robust False", "--robust True"),
    ("train_dmcm", "--clean_threshold 0.7 --robust False", "--robust True"),
    ("train_dmcm", "--mixture_scope batch --mixing_weight 1", "--mixing_weight 0.5"),
]


@pytest.mark.parametrize(("name", "unread", "made_read"), CASES)
def test_an_option_without_effect_is_refused(name, unread, made_read):
    option = unread.split()[0]
    with pytest.raises(ValueError, match=rf"^{option} is .+: .+ (or leave it|Leave it) out\.$"):
        options_of(name, [*OUT, *unread.split()])
    options = [*unread.split(), *made_read.split()]
    if options[-1].endswith("="):
        at = options.index(options[-1][:-1])
        options = options[:at]
    options_of(name, [*OUT, *options])


def test_what_a_recipe_says_of_other_combinations_is_no_option_of_a_person():
    data, model, *_ = options_of("train_ncr", [*OUT, *BERT, "--recipe", "paper"])
    assert data.min_word_frequency == PairArguments.min_word_frequency
    assert (model.word_size, model.dropout) == (NcrConfig.word_size, NcrConfig.dropout)
    _, model, *_ = options_of("train_ncr", OUT)
    assert model.word_size == 256


@pytest.mark.parametrize(
    ("name", "words", "option", "value"),
    [
        ("train_rcar", "--lr_scheduler_type constant", "warmup_steps", 0),
        ("train_rcar", "--lr_scheduler_type cosine", "warmup_steps", 0.1),
        ("train_dmcm", "--method dcca --optim rmsprop", "adam_beta1", 0.5),
        ("train_dmcm", "--method dcca", "adam_beta1", 0.9),
    ],
)
def test_what_a_recipe_says_is_dropped_where_a_typed_option_makes_it_idle(
    name, words, option, value
):
    *options, _ = options_of(name, [*OUT, *words.split()])
    (training,) = (part for part in options if hasattr(part, "num_train_epochs"))
    assert getattr(training, option) == value


@pytest.mark.parametrize("value", ["eror", "Skip", ""])
def test_what_to_do_with_bad_pictures_is_one_of_three(value):
    with pytest.raises(ValueError, match=f"^--on_bad_image is {value!r}: give one of error, skip"):
        PairArguments(dataset_name="photos", on_bad_image=value)
