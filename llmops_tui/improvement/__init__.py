"""Better prompts found by measuring: candidates are proposed on one part of the rows, ranked on another, and judged on a sealed one."""
