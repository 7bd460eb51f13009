"""How good a picture is: PSNR and SSIM by the benchmarks' protocol (numpy only)."""
