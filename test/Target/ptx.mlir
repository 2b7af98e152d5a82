// RUN: otodus compile %s --from=gpu --target=sm_80 --emit=ptx -o - | FileCheck %s --check-prefixes=CHECK,SM80
// RUN: otodus compile %s --from=gpu --target=cuda:sm_90a --emit=ptx -o - | FileCheck %s --check-prefixes=CHECK,SM90
// RUN: not otodus compile %s --from=gpu --target=sm_80 --emit=llvm -o - 2>&1 | FileCheck %s --check-prefix=STAGE
// RUN: not otodus compile %s --from=gpu --target=sm_81 --emit=ptx -o - 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not otodus compile %s --from=gpu --target=sm_80 -o %t.oto 2>&1 | FileCheck %s --check-prefix=PLAN
// RUN: not otodus compile %s --from=gpu --target=sm_80 --emit=cubin --ptxas=/no/ptxas -o %t.cubin 2>&1 | FileCheck %s --check-prefix=PTXAS

// STAGE: --emit names a stage that the target 'sm_80' does not have; a CPU has llvm and asm, a GPU gpu, nvvm, ptx and cubin, the simulator gpu, nvvm, llvm and asm
// CHIP:  unknown chip 'sm_81'; this compiler has sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a
// PLAN:  an artefact cannot be made from the gpu or nvvm stage
// PTXAS: --ptxas=/no/ptxas is no program that can be run

// One text with one header, in the lowest version that the chip has.

// SM80:      .version 7.0
// SM80-NEXT: .target sm_80
// SM90:      .version 8.0
// SM90-NEXT: .target sm_90a
// CHECK:     .extern .shared .align 1024 .b8 otodus_shared[];
// CHECK-NOT: .version

// Wide and read-only loads; sums in a fixed order that ptxas may not contract; exp without a library.

// CHECK:     .visible .entry row_sum(
// CHECK-NEXT: .param .u64 .ptr .global .align 64 row_sum_param_0,
// CHECK:     .reqntid 128, 1, 1
// CHECK:     ld.global.nc.v4.b32
// CHECK:     ex2.approx.f32
// CHECK:     add.rn.f32
// CHECK:     shfl.sync.bfly.b32 {{.*}}, 16, 31, -1;
// CHECK:     st.shared.b32
// CHECK:     bar.sync {{.*}}0;
// CHECK:     ld.shared.b32
// CHECK:     st.global.b32
func.func private @row_sum(%x: memref<?xf32>, %y: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [array<i64: 3, 1, 1>], gpu.threads = 128 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0.0 : f32
  %w = arith.constant 32 : i32
  %o16 = arith.constant 16 : i32
  %o8 = arith.constant 8 : i32
  %o4 = arith.constant 4 : i32
  %o2 = arith.constant 2 : i32
  %o1 = arith.constant 1 : i32
  %view = memref.reinterpret_cast %x to offset: [0], sizes: [%rows, 512], strides: [512, 1]
      : memref<?xf32> to memref<?x512xf32, strided<[512, 1]>>
  scf.forall (%r) in (%rows) {
    %t = gpu.thread_id x
    %parts = memref.alloca() : memref<4xf32, #gpu.address_space<workgroup>>
    %at = arith.muli %t, %c4 : index
    %v = vector.load %view[%r, %at] {alignment = 16} : memref<?x512xf32, strided<[512, 1]>>, vector<4xf32>
    %e = math.exp %v : vector<4xf32>
    %own = vector.reduction <add>, %e : vector<4xf32> into f32
    %a0, %p0 = gpu.shuffle xor %own, %o16, %w : f32
    %s0 = arith.addf %own, %a0 : f32
    %a1, %p1 = gpu.shuffle xor %s0, %o8, %w : f32
    %s1 = arith.addf %s0, %a1 : f32
    %a2, %p2 = gpu.shuffle xor %s1, %o4, %w : f32
    %s2 = arith.addf %s1, %a2 : f32
    %a3, %p3 = gpu.shuffle xor %s2, %o2, %w : f32
    %s3 = arith.addf %s2, %a3 : f32
    %a4, %p4 = gpu.shuffle xor %s3, %o1, %w : f32
    %s4 = arith.addf %s3, %a4 : f32
    %lane = gpu.lane_id
    %warp = gpu.subgroup_id : index
    %leads = arith.cmpi eq, %lane, %c0 : index
    scf.if %leads {
      memref.store %s4, %parts[%warp] : memref<4xf32, #gpu.address_space<workgroup>>
    }
    gpu.barrier
    %total = scf.for %i = %c0 to %c4 step %c1 iter_args(%sum = %zero) -> f32 {
      %part = memref.load %parts[%i] : memref<4xf32, #gpu.address_space<workgroup>>
      %next = arith.addf %sum, %part : f32
      scf.yield %next : f32
    }
    %first = arith.cmpi eq, %t, %c0 : index
    scf.if %first {
      memref.store %total, %y[%r] : memref<?xf32>
    }
  }
  return
}

// A tensor-core product: 16x8 per warp, operands copied to shared memory asynchronously.

// CHECK:     .visible .entry product(
// CHECK:     cp.async.cg.shared.global
// CHECK:     cp.async.commit_group
// CHECK:     cp.async.wait_group 0
// CHECK:     ldmatrix.sync.aligned.m8n8.x4.shared.b16
// CHECK:     ldmatrix.sync.aligned.m8n8.x2.shared.b16
// CHECK:     mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK:     st.global.v2.b32
func.func private @product(%a: memref<?xbf16>, %b: memref<?xbf16>, %c: memref<?xf32>,
                           %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 32 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %c15 = arith.constant 15 : index
  %c16 = arith.constant 16 : index
  %zero = arith.constant 0.0 : f32
  %at = memref.alloca() : memref<16x16xbf16, #gpu.address_space<workgroup>>
  %bt = memref.alloca() : memref<8x16xbf16, #gpu.address_space<workgroup>>
  %lane = gpu.thread_id x
  // Lane i copies 8 elements of A: row i / 2, half i % 2.
  %row = arith.divui %lane, %c2 : index
  %half = arith.remui %lane, %c2 : index
  %column = arith.muli %half, %c8 : index
  %offset = arith.muli %row, %c16 : index
  %from = arith.addi %offset, %column : index
  %asrc = memref.subview %a[%from] [8] [1] : memref<?xbf16> to memref<8xbf16, strided<[1], offset: ?>>
  %abase, %aoffset, %asize, %astride = memref.extract_strided_metadata %asrc
      : memref<8xbf16, strided<[1], offset: ?>> -> memref<bf16>, index, index, index
  %aint = memref.extract_aligned_pointer_as_index %abase : memref<bf16> -> index
  %ai64 = arith.index_cast %aint : index to i64
  %aptr = llvm.inttoptr %ai64 : i64 to !llvm.ptr<1>
  %aoff = arith.index_cast %aoffset : index to i64
  %ag = llvm.getelementptr %aptr[%aoff] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, bf16
  %atint = memref.extract_aligned_pointer_as_index %at : memref<16x16xbf16, #gpu.address_space<workgroup>> -> index
  %ati64 = arith.index_cast %atint : index to i64
  %atptr = llvm.inttoptr %ati64 : i64 to !llvm.ptr<3>
  %asoff = arith.index_cast %from : index to i64
  %as = llvm.getelementptr %atptr[%asoff] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, bf16
  nvvm.cp.async.shared.global %as, %ag, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  %inb = arith.cmpi ult, %lane, %c16 : index
  scf.if %inb {
    %w = vector.load %b[%from] {alignment = 16} : memref<?xbf16>, vector<8xbf16>
    vector.store %w, %bt[%row, %column] {alignment = 16} : memref<8x16xbf16, #gpu.address_space<workgroup>>, vector<8xbf16>
  }
  nvvm.cp.async.wait.group 0
  gpu.barrier
  %lrow = arith.remui %lane, %c16 : index
  %lhalf = arith.divui %lane, %c16 : index
  %lcol = arith.muli %lhalf, %c8 : index
  %loff0 = arith.muli %lrow, %c16 : index
  %loff = arith.addi %loff0, %lcol : index
  %loff64 = arith.index_cast %loff : index to i64
  %la = llvm.getelementptr %atptr[%loff64] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, bf16
  %fa = nvvm.ldmatrix %la {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %btint = memref.extract_aligned_pointer_as_index %bt : memref<8x16xbf16, #gpu.address_space<workgroup>> -> index
  %bti64 = arith.index_cast %btint : index to i64
  %btptr = llvm.inttoptr %bti64 : i64 to !llvm.ptr<3>
  %brow = arith.remui %lane, %c8 : index
  %bhalf0 = arith.divui %lane, %c8 : index
  %bhalf = arith.remui %bhalf0, %c2 : index
  %bcol = arith.muli %bhalf, %c8 : index
  %boff0 = arith.muli %brow, %c16 : index
  %boff = arith.addi %boff0, %bcol : index
  %boff64 = arith.index_cast %boff : index to i64
  %lb = llvm.getelementptr %btptr[%boff64] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, bf16
  %fb = nvvm.ldmatrix %lb {num = 2 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %a0 = llvm.extractvalue %fa[0] : !llvm.struct<(i32, i32, i32, i32)>
  %a1 = llvm.extractvalue %fa[1] : !llvm.struct<(i32, i32, i32, i32)>
  %a2 = llvm.extractvalue %fa[2] : !llvm.struct<(i32, i32, i32, i32)>
  %a3 = llvm.extractvalue %fa[3] : !llvm.struct<(i32, i32, i32, i32)>
  %b0 = llvm.extractvalue %fb[0] : !llvm.struct<(i32, i32)>
  %b1 = llvm.extractvalue %fb[1] : !llvm.struct<(i32, i32)>
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>,
       multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>}
      : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %v = vector.from_elements %d0, %d1 : vector<2xf32>
  %quad = arith.divui %lane, %c4 : index
  %in = arith.remui %lane, %c4 : index
  %crow = arith.muli %quad, %c8 : index
  %ccol = arith.muli %in, %c2 : index
  %to = arith.addi %crow, %ccol : index
  vector.store %v, %c[%to] {alignment = 8} : memref<?xf32>, vector<2xf32>
  return
}
