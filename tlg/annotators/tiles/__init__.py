"""Large pictures with small things in them: how large the things are, where tiles lie, how their answers become one."""
