/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spdlog: in the caller, and with its thread and a queue of 65536 lines, which
 * when it is full waits or overwrites the oldest. Only the text is written, no
 * time, no level.
 */
#include "logger.h"

#include <sstream>
#include <string>

#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

namespace {

enum kind { SYNC, BLOCK, OVERRUN };

struct spd {
	std::ostringstream memory;
	std::shared_ptr<spdlog::details::thread_pool> pool;
	std::shared_ptr<spdlog::logger> log;
	bool to_file;
};

void *spd_open(int fd, enum kind kind)
{
	spd *l = new spd;
	spdlog::sink_ptr sink;

	l->to_file = fd >= 0;
	if (l->to_file)
		sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(
			"/proc/self/fd/" + std::to_string(fd));
	else
		sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(l->memory);
	if (kind == SYNC) {
		l->log = std::make_shared<spdlog::logger>("compare", sink);
	} else {
		l->pool = std::make_shared<spdlog::details::thread_pool>(65536, 1);
		l->log = std::make_shared<spdlog::async_logger>("compare", sink, l->pool,
			kind == BLOCK ? spdlog::async_overflow_policy::block :
			spdlog::async_overflow_policy::overrun_oldest);
	}
	l->log->set_pattern("%v");
	return l;
}

void *sync_open(int fd)
{
	return spd_open(fd, SYNC);
}

void *block_open(int fd)
{
	return fd < 0 ? nullptr : spd_open(fd, BLOCK);
}

void *overrun_open(int fd)
{
	return fd < 0 ? nullptr : spd_open(fd, OVERRUN);
}

bool spd_line(void *logger, const struct line *line)
{
	spd *l = static_cast<spd *>(logger);

	l->log->info("{} {} {} {}", line->writer, line->number, line->check, line->text);
	return true;
}

size_t spd_pump(void *logger, char *to, size_t size)
{
	spd *l = static_cast<spd *>(logger);

	l->log->flush();
	if (l->to_file)
		return 0;
	const std::string text = l->memory.str();
	const size_t len = text.copy(to, size);

	l->memory.str("");
	return len;
}

uint64_t spd_lost(void *logger)
{
	spd *l = static_cast<spd *>(logger);

	return l->pool ? l->pool->overrun_counter() : 0;
}

/* Its thread ends when all is written. */
void spd_close(void *logger)
{
	spd *l = static_cast<spd *>(logger);

	l->log->flush();
	l->log.reset();
	l->pool.reset();
	delete l;
}

}

static const struct logger logger_sync = {
	.name = "spdlog",
	.package = "libspdlog-dev",
	.open = sync_open,
	.line = spd_line,
	.pump = spd_pump,
	.lost = nullptr,
	.close = spd_close,
	.others_cpu_ns = nullptr,
	.own_thread = false,
};
LOGGER_REGISTER(logger_sync);

static const struct logger logger_block = {
	.name = "spdlog async (waits)",
	.package = "libspdlog-dev",
	.open = block_open,
	.line = spd_line,
	.pump = spd_pump,
	.lost = spd_lost,
	.close = spd_close,
	.others_cpu_ns = nullptr,
	.own_thread = true,
};
LOGGER_REGISTER(logger_block);

static const struct logger logger_overrun = {
	.name = "spdlog async (overwrites)",
	.package = "libspdlog-dev",
	.open = overrun_open,
	.line = spd_line,
	.pump = spd_pump,
	.lost = spd_lost,
	.close = spd_close,
	.others_cpu_ns = nullptr,
	.own_thread = true,
};
LOGGER_REGISTER(logger_overrun);
