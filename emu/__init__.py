"""The machines, what they run and what comes out: everything here imports only from here."""
