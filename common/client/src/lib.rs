//! Client::propose and Client::query.
