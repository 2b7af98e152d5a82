// What the asynchronous proxy sees, and who waits for what it does: faults in the recorder kernels.
//
// DEFINE: %{store} = --kernel=tma_store_2d --threads=128 --shared=4096 --hidden=t:bf16[512]:undef --arg=map:t:64x8:64x8:128 --arg=image:bf16[512]:iota --arg=i32:1024 --arg=i32:0 --arg=i32:0
// RUN: otodus-sim-run %S/device/tma.mlir %{store} | FileCheck %s --check-prefix=FINE
// RUN: otodus-sim-run %S/device/tma.mlir %{store} --async=mixed --order=random:4 | FileCheck %s --check-prefix=FINE
// FINE: status: ok

// Without a fence a copy out of shared memory may not see what threads wrote.
// RUN: sed '/fence.proxy/d' %S/device/tma.mlir > %t.store.mlir
// RUN: otodus-sim-run %t.store.mlir %{store} | FileCheck %s --check-prefix=STORE
// STORE: status: reports
// STORE: missing proxy fence: nvvm.cp.async.bulk.tensor.global.shared.cta at {{.*}} accesses shared memory through the asynchronous proxy (thread 0 of block (0,0,0)), which llvm.store at {{.*}} wrote (thread {{[0-9]+}}) without a fence.proxy.async in between: the writer needs one before the barrier

// A fence of other memory is none.
// RUN: sed 's/async.shared/async.global/; s/, space = #nvvm.shared_space<cta>//' %S/device/tma.mlir > %t.global.mlir
// RUN: otodus-sim-run %t.global.mlir %{store} | FileCheck %s --check-prefix=STORE

// Without a barrier the copy races with the stores.
// RUN: sed '/barrier0/d' %S/device/tma.mlir > %t.race.mlir
// RUN: otodus-sim-run %t.race.mlir %{store} | FileCheck %s --check-prefix=RACE
// RACE: status: reports
// RACE: {{shared memory race|asynchronous operation in flight}}: {{.*}}nvvm.cp.async.bulk.tensor.global.shared.cta

// The block ends while the copy reads its memory: not waited for, or not committed.
// RUN: sed '/bulk.wait_group/d' %S/device/tma.mlir > %t.wait.mlir
// RUN: otodus-sim-run %t.wait.mlir %{store} | FileCheck %s --check-prefix=WAIT
// RUN: sed '/bulk.commit.group/d' %S/device/tma.mlir > %t.commit.mlir
// RUN: otodus-sim-run %t.commit.mlir %{store} | FileCheck %s --check-prefix=WAIT
// WAIT: status: reports
// WAIT: early exit: nvvm.cp.async.bulk.tensor.global.shared.cta at {{.*}}: the block ended while the copy may still read its shared memory; wait with cp.async.bulk.wait_group (thread 0)

// DEFINE: %{product} = --kernel=wgmma_n8_kk --threads=128 --shared=8192 --arg=image:bf16[2048]:1 --arg=i32:4096 --arg=i64:0x0000000800080000 --arg=i64:0x0000000800080000 --arg=i32:0 --arg=acc:f32[512]:0 --arg=out:f32[512]:undef
// RUN: sed '/fence.proxy/d' %S/device/wgmma.mlir > %t.product.mlir
// RUN: otodus-sim-run %t.product.mlir %{product} | FileCheck %s --check-prefix=PRODUCT
// PRODUCT: status: reports
// PRODUCT: missing proxy fence: gk.wgmma at {{.*}} accesses shared memory through the asynchronous proxy (thread {{[0-9]+}} of block (0,0,0)), which llvm.store at

// A use of the accumulator before the wait is an error of the program, whatever it would give.
// RUN: sed 's/llvm.store %r, /llvm.store %d, /' %S/device/wgmma.mlir > %t.early.mlir
// RUN: not otodus-sim-run %t.early.mlir %{product} 2>&1 | FileCheck %s --check-prefix=EARLY
// EARLY: error: 'llvm.store' op uses an accumulator that wgmma still writes; wait for it with gk.wgmma_wait and use the wait's result

// The wait that leaves the product in flight.
// RUN: sed 's/wgmma_wait 0/wgmma_wait 1/' %S/device/wgmma.mlir > %t.one.mlir
// RUN: not otodus-sim-run %t.one.mlir %{product} 2>&1 | FileCheck %s --check-prefix=EARLY

// The phase ends when all bytes have come, or not at all.
// DEFINE: %{load} = --kernel=tma_load_2d --threads=128 --shared=4096 --hidden=t:bf16[512]:iota --arg=map:t:64x8:64x8:128 --arg=out:bf16[512]:undef
// RUN: otodus-sim-run %S/device/tma.mlir %{load} --arg=i32:1040 --arg=i32:0 --arg=i32:0 | FileCheck %s --check-prefix=MORE
// MORE: status: fault
// MORE: deadlock: all threads that have not returned wait for each other
// MORE: threads 0-127 wait at nvvm.mbarrier.try_wait.parity at {{.*}}, for an mbarrier at shared byte 0, phase 0, which lacks 0 of 1 arrivals and 16 bytes
