"""python -m charlm."""

from charlm.program import main

main()
