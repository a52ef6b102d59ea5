# What the runner tells these programs and what they answer: JSON, a line each (see src/protocol.rs).
require "json"

SETUP = JSON.parse(ARGV.last)
REDIS = "unix://#{SETUP["redis"]}"
SAYING = Mutex.new
$stdout.sync = true

def say(event)
  SAYING.synchronize { $stdout.puts(JSON.generate(event)) }
end

def now_us
  Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
end

def clock
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
