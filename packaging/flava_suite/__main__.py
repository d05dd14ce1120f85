"""``python -m flava_suite eval|finetune|pretrain ...``."""
import sys

from flava_suite import main

sys.exit(main())
