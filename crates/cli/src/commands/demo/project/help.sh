echo "commands: $commands"
