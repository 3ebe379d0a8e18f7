"""The pages that reports come with: each is a template, and a file that says what goes into it."""
