//! Examples at the end of each `--help`.

pub(super) const EVAL: &str = "\
Examples:
  flava-eval --tasks 'all,!*-tuned'                    the mini suite, without training
  flava-eval --model facebook/flava-full --tasks all   the paper's 35 tasks
  flava-eval --model DIR --tasks 'glue-*,food101' --data DIR --offline
  flava-eval --model DIR --tasks vision --method knn --limit 2000 --dry-run
  flava-eval --features-from clip --tasks food101      another model's features";

pub(super) const ZERO_SHOT: &str = "\
Examples:
  flava-eval zero-shot --images pets --template 'a photo of a {c}, a pet.'
  flava-eval zero-shot --images photos --classes red,green --top 2 --answers answers.csv";

pub(super) const PROBE: &str = "\
Examples:
  flava-eval probe --train train.csv --test test.csv
  flava-eval probe --train shapes --save-probe shapes-probe
  flava-eval probe --probe shapes-probe --images new --answers answers.jsonl";

pub(super) const RETRIEVE: &str = "\
Examples:
  flava-eval retrieve --pairs pairs.csv
  flava-eval retrieve --pairs pairs.csv --column image=file --column caption=title";

pub(super) const TASKS: &str = "\
Examples:
  flava-eval tasks --suite paper --family vision
  flava-eval tasks new csv > my.toml
  flava-eval tasks show food101 > my.toml";

pub(super) const FETCH: &str = "\
Examples:
  flava-eval fetch --tasks glue,food101 --dry-run
  flava-eval fetch --tasks all --model facebook/flava-full --to bundle";

pub(super) const VERIFY: &str = "\
Examples:
  flava-eval verify --tasks cifar10 --data DIR
  flava-eval verify --tasks own --task-file my.toml --json";

pub(super) const EMBED: &str = "\
Examples:
  flava-eval embed --images photos --out photos.safetensors
  flava-eval embed --texts captions.txt --model facebook/flava-full --out captions.npy
  flava-eval embed --pairs pairs.csv --features multimodal_cls,image_mean --out pairs.parquet";

pub(super) const RUNS: &str = "\
Examples:
  flava-eval runs
  flava-eval runs elsewhere --json";

pub(super) const SCORE: &str = "\
Examples:
  flava-eval score --task mini-vqa --predictions runs/predictions/mini-vqa.parquet
  flava-eval score --task glue-cola --predictions theirs.csv --data DIR";

pub(super) const COMPARE: &str = "\
Examples:
  flava-eval compare runs-before runs-after";

pub(super) const LEADERBOARD: &str = "\
Examples:
  flava-eval leaderboard runs-a runs-b paper
  flava-eval leaderboard runs-* --out board              all formats
  flava-eval leaderboard results/measured/*.csv --join-seeds --format csv";

pub(super) const REPORT: &str = "\
Examples:
  flava-eval report runs
  flava-eval report runs-a runs-b --out compared.html    b beside a
  flava-eval report pretrained/mini --images none        a training
  flava-eval report runs --figures
  flava-eval report runs --figure tasks --format png";

pub(super) const PUBLISH: &str = "\
Examples:
  flava-eval publish runs --repo me/flava-board --dry-run
  flava-eval publish runs --repo me/flava-board --public --predictions
  flava-eval publish runs --model-card me/my-flava";

pub(super) const EXPORT: &str = "\
Examples:
  flava-eval export runs --format lm-eval --out exported
  flava-eval export runs --format model-index --out card";

pub(super) const CACHE: &str = "\
Examples:
  flava-eval cache ls
  flava-eval cache prune --days 7";

pub(super) const FINETUNE: &str = "\
Examples:
  flava-finetune mini-vqa                              on the embedded model
  flava-finetune rte --model facebook/flava-full --seeds 5
  flava-finetune rte --model DIR --sweep lr=1e-5,3e-5 --sweep epochs=3,10
  flava-finetune vqa --model DIR --set epochs=3 --set lr=3e-5 --out vqa
  flava-finetune --train train.csv --test test.csv     data of your own
  flava-eval --model vqa --tasks vqa                   score it again";

pub(super) const PREDICT: &str = "\
Examples:
  flava-finetune predict --model finetuned --out answers
  flava-finetune predict --model finetuned --split validation
  flava-finetune predict --model finetuned --texts new.txt --answers answers.csv
  flava-finetune predict --model finetuned --images photos --top 3";

pub(super) const RECIPE: &str = "\
Examples:
  flava-finetune recipe rte > mine.toml
  flava-finetune rte --recipe mine.toml";

/// What the programs for completions and manuals show.
pub(super) const COMPLETIONS: &str = "\
Examples:
  flava-eval completions bash > ~/.local/share/bash-completion/completions/flava-eval";

pub(super) const MAN: &str = "\
Examples:
  flava-eval man ~/.local/share/man/man1";

pub(super) const MERGE: &str = "\
Examples:
  flava-finetune rte --set lora.rank=8 --out rte-lora
  flava-finetune merge --model rte-lora --out rte";
