"""Run one configuration, or a sweep of them: see conf/config.yaml for what can be chosen.

python train.py                                    the demo
python train.py +ablation=no_lrn                   one ingredient removed
python train.py -m '+ablation=glob(*)' seed=0,1,2  the study, ending with the comparison table
python train.py experiment=study_small             a study that names its own ablations and seeds
"""

from alexnet.commands.train import main

if __name__ == "__main__":
    main()
