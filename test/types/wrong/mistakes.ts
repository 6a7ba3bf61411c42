/** Deliberately wrong: the compiler's messages are the product under test. */
import { crossEntropy, linear, relu, sequential, zeros } from "../../../src/index.ts";

zeros([2, 3]).matmul(zeros([4, 5]));
zeros([2, 8, 16, 64]).matmul(zeros([2, 8, 16, 64])); // forgot .mT()
zeros([32, 128]).add(zeros([32]));
zeros([32, 128]).add(zeros([10, 32, 128]));
linear(784, 128)(zeros([64, 28, 28]));
sequential(linear(784, 256), relu, linear(128, 10));
crossEntropy(zeros([4, 10]), zeros([4]));
