"""Better prompts by measuring: candidates are proposed on one part of the rows, ranked on another, judged on a sealed one."""
