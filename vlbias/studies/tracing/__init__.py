"""A kind of study: where in a language model facts are read, by restoring what noise on the subject broke."""
