/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cxx_user - streams in C++11
 *
 *	cc -std=c11 -Iinclude -c examples/cxx_user_impl.c
 *	c++ -std=c++11 -Iinclude examples/cxx_user.cpp cxx_user_impl.o -o cxx_user -pthread
 *
 * The declarations are C++; the implementation is compiled as C, in a file of
 * two lines. The class below is all that one usually wants around it.
 */
#include "bpf_stream.h"

#include <cerrno>
#include <iostream>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

class Stream {
public:
	explicit Stream(size_t capacity = 0)
	{
		bpf_stream_options options = {};

		options.capacity = capacity;
		check(bpf_stream_init(&s, &options));
	}

	~Stream() { bpf_stream_destroy(&s); }

	/* A stream must not be moved: others know its address. */
	Stream(const Stream &) = delete;
	Stream &operator=(const Stream &) = delete;

	/* Throwing is not for handlers; these use bpf_stream_push() on raw(). */
	void push(const std::string &text)
	{
		check(bpf_stream_push(&s, text.data(), text.size()));
	}

	std::string drain()
	{
		std::string text;

		check(bpf_stream_drain(&s, append, &text, SIZE_MAX));
		return text;
	}

	bpf_stream *raw() { return &s; }

private:
	static void check(int ret)
	{
		if (ret < 0)
			throw std::system_error(-ret, std::generic_category(), "bpf_stream");
	}

	/* No exception may leave a sink: C is above it, and a lock is held. */
	static int append(void *ctx, const void *data, size_t len) noexcept
	{
		try {
			static_cast<std::string *>(ctx)->append(static_cast<const char *>(data),
								len);
			return static_cast<int>(len);
		} catch (const std::bad_alloc &) {
			return -ENOMEM;
		}
	}

	bpf_stream s;
};

int main()
{
	std::vector<std::thread> threads;
	Stream stream;
	Stream small(4);

	for (int i = 0; i < 3; i++)
		threads.emplace_back([&stream] { stream.push("from a thread\n"); });
	for (std::thread &thread : threads)
		thread.join();
	if (bpf_stream_printf(stream.raw(), "%d threads have finished\n", 3)) {
		std::cerr << "cxx_user: cannot store\n";
		return 1;
	}
	std::cout << stream.drain();

	try {
		small.push("too long");
	} catch (const std::system_error &e) {
		std::cout << "8 bytes, where 4 fit: " << e.what() << '\n';
	}
	if (!std::cout.flush()) {
		std::cerr << "cxx_user: cannot write\n";
		return 1;
	}
	return 0;
}
