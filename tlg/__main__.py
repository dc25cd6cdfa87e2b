from tlg.cli import main

main()
