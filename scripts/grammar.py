"""Write an artificial corpus of known entropy, or measure the distance of a run from the optimum.

    python scripts/grammar.py write corpus.txt --distance 50 --characters 2000000
    charlm train corpus.txt --cell lstm --run runs/grammar
    python scripts/grammar.py measure runs/grammar corpus.txt

charlm/data/agreement_grammar.py describes the grammar.
"""

import argparse
import json
from pathlib import Path

import msgspec

from charlm.data.agreement_grammar import write_agreement_corpus
from charlm.errors import CharlmError
from charlm.evaluation.agreement_gap import measure_agreement_gap
from charlm.results.text import AgreementRecord
from charlm.runs.run import load_run
from charlm.storage.json_files import read_json


def main() -> None:
    """Run the command and print its result as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="write a corpus, and its record as .json beside it")
    write.add_argument("corpus", type=Path, help="text file to write")
    write.add_argument(
        "--distance", type=float, default=50.0, help="mean characters between subject and verb"
    )
    write.add_argument("--characters", type=int, default=2_000_000, help="least length of the text")
    write.add_argument("--seed", type=int, default=0, help="random seed")
    measure = commands.add_parser("measure", help="measure a run that was trained on the corpus")
    measure.add_argument("run", type=Path, help="run directory")
    measure.add_argument("corpus", type=Path, help="the corpus; its record is beside it")
    arguments = parser.parse_args()
    try:
        if arguments.command == "write":
            record = write_agreement_corpus(
                arguments.corpus, arguments.distance, arguments.characters, arguments.seed
            )
            result = msgspec.to_builtins(record)
            del result["grammar"]
        else:
            path = arguments.corpus.with_suffix(".json")
            record = read_json(path, AgreementRecord)
            result = msgspec.to_builtins(measure_agreement_gap(load_run(arguments.run), record))
    except CharlmError as error:
        raise SystemExit(str(error)) from error
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
