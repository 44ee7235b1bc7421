"""`python -m vlbias` is `vlbias`."""

from vlbias.cli import main

main()
