"""Envoy as a child process: found, checked, started, watched, drained and stopped; and what the whole proxy runs on.

Policies and resources are made elsewhere; here is only who runs when.
"""
