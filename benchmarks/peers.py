"""Attacks here beside those of other tools, in one run: same predictions in; AUC, TPR, seconds and peak memory out.

Whoever runs this installs or clones the peers, each into an environment of its own, and says in a file where they are:

    [art]
    python = "/somewhere/art/bin/python"             # an interpreter that can import it

    [mia_prune]
    python = "/somewhere/scripts/bin/python"         # an interpreter with torch, pandas, scikit-learn, matplotlib
    checkout = "/somewhere/mia_prune"                # git clone https://github.com/...

Peers that the file does not name are left out, and the run says how to get them. Every attack of a peer and of ours
plays in a process of its own with one thread, through a driver in `peer_drivers/` that imports the peer's code as it
is. All get the same predictions and give back scores; one function makes the figures of them. Variants take turns.

    OMP_NUM_THREADS=1 python benchmarks/peers.py peers.toml --rounds 2                       # trained networks
    OMP_NUM_THREADS=1 python benchmarks/peers.py peers.toml --bank made-up --rounds 1        # 128 x 50,000
    OMP_NUM_THREADS=1 python benchmarks/peers.py peers.toml --only privacy_meter sacro_ml    # some peers
"""

# V victims, A audited samples

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import peer_banks
from interleaved import load_average, machine, parser, table, take_turns
from peer_matches import MATCHES, OURS, PEERS, Match, Play
from peer_results import Outcome, rows_of, versions_of

HERE = Path(__file__).parent
DRIVERS = HERE / "peer_drivers"
TIMEOUT = 3600
"""Seconds; a peer that needs more has failed."""
SIZES = {"trained": (16, 2_400, 2), "made-up": (128, 50_000, 10_000)}
"""References, samples and learners of `peer_banks.trained`; models, samples and holdout of `made_up`."""


def read_places(path: Path | None) -> dict[str, dict[str, str]]:
    """Interpreter and checkout of each peer that is there.

    Raises:
        SystemExit: a name, key or path is wrong; the message says which.
    """
    if path is None:
        return {}
    try:
        places = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"{path}: {error}; expected a TOML file with a section for each peer, see --help")
    for name, place in places.items():
        if name not in PEERS:
            sys.exit(f"{path}: got a peer '{name}', expected one of: {', '.join(PEERS)}")
        wanted = {"python", "checkout"} if PEERS[name].is_checkout else {"python"}
        if set(place) != wanted:
            sys.exit(f"{path}: [{name}] has {sorted(place)}, expected the keys {sorted(wanted)}")
        for key, value in place.items():
            if not Path(value).exists():
                sys.exit(f"{path}: [{name}] {key} = {value!r} does not exist; {PEERS[name].install}")
    return places


def played(play: Play, bank: Path, places: Mapping[str, Mapping[str, str]], drivers: Path = DRIVERS) -> Outcome:
    """Plays one attack in a process of its own.

    Args:
        play: what to play.
        bank: the folder with the predictions.
        places: as from `read_places`.
        drivers: the folder with the drivers.
    """
    place = {"python": sys.executable} if play.peer == OURS else places[play.peer]
    environment = {name: value for name, value in os.environ.items() if play.peer == OURS or name != "PYTHONPATH"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PEER_CHECKOUT": place.get("checkout", "")}
    with tempfile.TemporaryDirectory() as out:
        command = [place["python"], str(drivers / f"{play.peer}_driver.py"), play.attack, str(bank.resolve()), out]
        command.append(json.dumps(dict(play.options)))
        try:
            done = subprocess.run(
                command, cwd=out, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            return Outcome(failure=f"took more than {TIMEOUT} s")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return Outcome(failure=lines[-1])
        return Outcome.read(Path(out))


def everything(matches: Sequence[Match], play: Callable[[Play], Outcome], num_rounds: int) -> dict[Play, list[Outcome]]:
    """Every play of the matches, once a round, in turn."""
    plays = {each: None for match in matches for each in (match.theirs, match.ours)}

    def told(each: Play) -> Outcome:
        outcome = play(each)
        said = outcome.failure or f"{outcome.facts['cpu']:.2f} CPU s, peak {outcome.facts['peak']:.0f} MB"
        print(f"{each}: {said} (load {load_average()})", file=sys.stderr, flush=True)
        return outcome

    return take_turns({each: partial(told, each) for each in plays}, num_rounds)  # type: ignore[arg-type, return-value]


def make_bank(folder: Path, kind: str, sizes: Sequence[int]) -> None:
    """Makes a bank in a process of its own, unless the folder has one."""
    if (folder / "rest.npz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    made: Any = peer_banks.trained if kind == "trained" else peer_banks.made_up
    call = f"from pathlib import Path; import peer_banks; peer_banks.{made.__name__}(Path({str(folder)!r}), *{sizes})"
    subprocess.run([sys.executable, "-c", call], check=True, cwd=HERE)


def main() -> None:
    arguments = parser(__doc__, 2)
    arguments.add_argument("places", type=Path, nargs="?", help="TOML file that says where peers are")
    arguments.add_argument("--bank", choices=list(SIZES), default="trained", help="default: %(default)s")
    arguments.add_argument("--sizes", type=int, nargs=3, help="of the bank; see SIZES in the source")
    arguments.add_argument("--keep", type=Path, help="folder for the bank, used again if it is there")
    arguments.add_argument("--only", nargs="+", choices=list(PEERS), metavar="PEER", help="peers to play")
    arguments.add_argument("--attacks", nargs="+", metavar="ATTACK", help="of the peers, by their names")
    chosen = arguments.parse_args()
    places = read_places(chosen.places)
    for name in (name for name in PEERS if name not in places):
        print(f"{name}: not installed, skipped. {PEERS[name].install}")
    wanted = [name for name in places if chosen.only is None or name in chosen.only]
    matches = [match for match in MATCHES[chosen.bank] if match.theirs.peer in wanted]
    matches = [match for match in matches if chosen.attacks is None or match.theirs.attack in chosen.attacks]
    if not matches:
        sys.exit("nothing to play: no peer is there; see --help")
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as temporary:
        bank = chosen.keep or Path(temporary)
        make_bank(bank, chosen.bank, chosen.sizes or SIZES[chosen.bank])
        found = everything(matches, partial(played, bank=bank, places=places), chosen.rounds)
        header, rows = rows_of(matches, found, bank)
    print(f"\n{table(['peer', 'version'], versions_of(found))}")
    print(f"\nmedian [min, max] of {chosen.rounds} rounds; memory: the highest; load at the end {load_average()}")
    print(f"\n{table(header, rows)}")


if __name__ == "__main__":
    main()
