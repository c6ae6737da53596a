"""What several machines share: a database, and what is kept in it."""
