# The process that enqueues.
require "sidekiq"
require_relative "link"
require_relative "jobs"

PADDING = "0198f3a0-0000-7000-8000-000000000001 0198f3a0-0000-7000-8000-000000000002 " \
  "0198f3a0-0000-7000-8000-000000000003 0198f3a0-0000-7000-8000-000000000004."
FIRST = 100_000
MIX = [8, 7, 4, 1].freeze
# Threads that call at a rate.
CALLERS = 8

Sidekiq.configure_client { |config| config.redis = {url: REDIS, size: 50} }
Sidekiq.logger.level = Logger::WARN

def arguments(at)
  {"sent_us" => now_us, "n" => FIRST + at, "padding" => PADDING}
end

def kind_of(at)
  place = (at * 7) % MIX.sum
  MIX.each_with_index do |share, kind|
    return KINDS[kind] if place < share
    place -= share
  end
end

def single(order)
  callers = Array.new(order["in_flight"]) do |caller|
    Thread.new { caller.step(order["jobs"] - 1, order["in_flight"]) { |at| KINDS[0].perform_async(arguments(at)) } }
  end
  callers.each(&:join)
end

def bulk(order)
  (0...order["jobs"]).each_slice(order["call"]) do |numbers|
    Sidekiq::Client.push_bulk("class" => KINDS[0], "args" => numbers.map { |at| [arguments(at)] })
  end
end

def pace(order)
  due = Thread::Queue.new
  callers = Array.new(CALLERS) do
    Thread.new do
      while (at = due.pop)
        (order["mixed"] ? kind_of(at) : KINDS[0]).perform_async(arguments(at))
      end
    end
  end
  start = clock
  order["jobs"].times do |at|
    wait = start + at.fdiv(order["rate"]) - clock
    sleep(wait) if wait > 0
    due << at
  end
  due.close
  callers.each(&:join)
end

Sidekiq.redis(&:ping)
Thread.report_on_exception = true
Thread.abort_on_exception = true
say({event: "ready"})
while (line = $stdin.gets)
  order = JSON.parse(line)
  start = clock
  send(order["do"], order)
  say({event: "done", seconds: clock - start})
end
