module {
  func.func private @turn_rows(%x: memref<?xf32>, %y: memref<?xf32>, %batch: index, %length: index, %rows: index)
      attributes {gpu.threads = 64 : i64, mega.grid = [array<i64: 3, 1, 1>]} {
    %c63 = arith.constant 63 : index
    %from = memref.reinterpret_cast %x to offset: [0], sizes: [%rows, 64], strides: [64, 1]
        : memref<?xf32> to memref<?x64xf32, strided<[64, 1]>>
    %to = memref.reinterpret_cast %y to offset: [0], sizes: [%rows, 64], strides: [64, 1]
        : memref<?xf32> to memref<?x64xf32, strided<[64, 1]>>
    scf.forall (%row) in (%rows) {
      %t = gpu.thread_id x
      %tile = memref.alloca() : memref<64xf32, #gpu.address_space<workgroup>>
      %value = memref.load %from[%row, %t] : memref<?x64xf32, strided<[64, 1]>>
      %exp = math.exp %value fastmath<afn> : f32
      memref.store %exp, %tile[%t] : memref<64xf32, #gpu.address_space<workgroup>>
      gpu.barrier
      %other = arith.subi %c63, %t : index
      %turned = memref.load %tile[%other] : memref<64xf32, #gpu.address_space<workgroup>>
      memref.store %turned, %to[%row, %t] : memref<?x64xf32, strided<[64, 1]>>
    }
    return
  }
}
