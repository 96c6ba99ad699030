// Every kernel of Avedis, in the order in which a training step meets them: nvcc compiles this one file into one fatbin. (g++ compiles the files one by
// one for the emulation.)
#include "elementwise.cu"
#include "relu.cu"
#include "masked_mean.cu"
#include "concat.cu"
#include "linear.cu"
#include "softmax_cross_entropy.cu"
#include "uniform_confusion.cu"
#include "gradient_reversal.cu"
#include "adam.cu"
#include "count_non_finite.cu"
#include "max_pool.cu"
#include "batch_norm.cu"
