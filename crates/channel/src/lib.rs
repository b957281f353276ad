//! Client of the policy channel: transactions in, an atomically swapped state out.
