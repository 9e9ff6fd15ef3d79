"""Run one configuration, or a sweep of them: see conf/config.yaml for what can be chosen.

python train.py                                    the demo
python train.py +ablation=no_lrn                   one ingredient removed
python train.py -m '+ablation=glob(*)' seed=0,1,2  the study, ending with the comparison table
"""

import hydra
from omegaconf import DictConfig

from alexnet import launch


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def job(_: DictConfig) -> None:
    launch.run_job()


if __name__ == "__main__":
    launch.main(job)
