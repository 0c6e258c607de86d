#!/bin/sh
# Compiles our crates, and no other, so that they tell libFuzzer what they reach. Cargo calls it in
# place of rustc (RUSTC_WORKSPACE_WRAPPER); dependencies, RocksDB among them, stay as they are.
case " $* " in
*" build_script_"*) exec "$@" ;;
esac
exec "$@" -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares
