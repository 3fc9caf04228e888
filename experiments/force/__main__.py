"""The paper's last open remark, from training to figure: `python -m experiments.force --preset small`.

Full-FORCE, FORCE and back-propagation train the same random rate networks on two tasks. Networks that are in the results
already are not trained again.
"""

from experiments.force.figure import make
from experiments.outputs import command

if __name__ == "__main__":
    command("force", "Full-FORCE", make, __doc__)
