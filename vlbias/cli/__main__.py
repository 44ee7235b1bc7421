"""`python -m vlbias.cli`."""

from vlbias.cli import main

main()
