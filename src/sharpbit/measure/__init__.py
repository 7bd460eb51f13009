"""How good an image is: PSNR and SSIM by the benchmarks' protocol (numpy only)."""
